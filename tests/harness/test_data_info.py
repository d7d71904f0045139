"""What `salprobe data info` says and draws."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness import data_picture
from harness.data._summary import Spread, centre_bias, summarise
from harness.data.dataset import Dataset
from harness.data.folder import Folder
from harness.data.osie import Osie
from harness.data.salicon import Salicon
from harness.data.source import OWN
from harness.data_picture import EXAMPLES, draw_dataset, examples
from harness.density import blur, sigma_for
from harness.errors import UnknownNameError
from harness.main import main
from harness.recipe import load_recipe
from harness.run import about, matrix_id
from tests.harness.data.roots import annotation, image, save_jpeg, two_images, write_root

SalProbe = Callable[..., int]


@pytest.fixture
def salprobe(monkeypatch: pytest.MonkeyPatch) -> SalProbe:
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["salprobe", *arguments])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return run


def looked(folder: Path, counts: list[list[int]], size: tuple[int, int] = (12, 20), split: Any = "train") -> Dataset:
    """`counts[i]`: the observers of the points of image i, at drawn places."""
    rng, pairs = np.random.default_rng(0), []
    for number, observers in enumerate(counts):
        save_jpeg(folder / f"{split}{number}.jpg", size, seed=number)
        points = [(rng.integers(size[0]), rng.integers(size[1]), who) for who in observers]
        pairs.append((folder / f"{split}{number}.jpg", np.array(points).reshape(-1, 3)))
    return Dataset.from_fixations("mine", split, pairs)


def test_counts(tmp_path: Path) -> None:
    found = summarise(looked(tmp_path, [[0, 0, 2], [2], [], [5, 5, 5, 5, 0]]))
    assert (found.images, found.points, found.observers, found.without_points) == (4, 9, 3, 1)
    assert found.points_per_image == Spread(2.0, 0, 5)
    assert found.observers_per_image == Spread(1.5, 0, 2)
    assert found.sizes == {(12, 20): 4}
    assert not found.timed


def test_centre_bias_is_the_mean_of_blurred_images(tmp_path: Path) -> None:
    splits = [looked(tmp_path, [[0, 0, 2], [2], []]), looked(tmp_path, [[1] * 7], split="test")]
    each = [
        d.points(i).counts(d.size(i)).double() / len(d.points(i))
        for d in splits
        for i in range(len(d))
        if len(d.points(i))
    ]
    plain = blur(torch.stack(each), sigma_for(12)).mean(0)
    np.testing.assert_allclose(centre_bias(splits), (plain / plain.sum()).numpy(), atol=1e-12)


def test_other_sizes_count_at_relative_positions(tmp_path: Path) -> None:
    small, large = looked(tmp_path / "a", [[0], [0]]), looked(tmp_path / "b", [[0]], size=(24, 40), split="test")
    doubled = Dataset.from_fixations(
        "mine", "test", [(large.files[0], np.stack([small.row[:1], small.col[:1]], 1) * 2)]
    )
    alone = small.take([0])
    np.testing.assert_allclose(centre_bias([small.take([1]), alone, doubled]), centre_bias([small, alone]), atol=1e-12)


def test_only_the_examples_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []
    read = data_picture.read_image
    monkeypatch.setattr(data_picture, "read_image", lambda file, id: (decoded.append(file), read(file, id))[1])
    splits = [looked(tmp_path, [[0, 1]] * 7), looked(tmp_path, [[1]] * 5, split="test")]
    draw_dataset("$mine$", "of $ and _", splits, tmp_path / "x.png")
    assert len(decoded) == EXAMPLES
    assert decoded == [dataset.files[index] for dataset, index in examples(splits)]
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 1000
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 1000


def test_few_images_without_gaze_and_damaged_ones_can_be_drawn(tmp_path: Path) -> None:
    dataset = looked(tmp_path, [[], []])
    dataset.files[0].write_bytes(b"no picture")
    draw_dataset("mine", "", [dataset], tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_the_command(tmp_path: Path, salprobe: SalProbe, capsys: pytest.CaptureFixture[str]) -> None:
    write_root(tmp_path / "data", two_images())
    other = {"images": [image(9)], "annotations": [annotation(1, 9, [[1, 1]], "ann")]}
    write_root(tmp_path / "data", other, split="test")
    given = ["--set", f"dataset.root={tmp_path / 'data'}", "--set", "edition=2014", "--set", "points=mouse"]
    assert salprobe("data", "info", "salicon", *given, "--out", str(tmp_path / "out")) == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    for line in (
        ["images", "2", "1"],
        ["height", "x", "width", "12x20", "12x20"],
        ["observers", "2", "1"],
        ["points", "5", "1"],
    ):
        assert line in lines
    assert "edition 2014, mouse points" in said
    assert "annotations CC BY 4.0" in said
    assert f"picture: {tmp_path / 'out' / 'salicon-data.png'}" in said
    (tmp_path / "data/annotations/fixations_val2014.json").unlink()
    assert salprobe("data", "info", "salicon", *given, "--no-picture") == 3
    said = capsys.readouterr().out
    assert ["images", "2"] in [line.split() for line in said.splitlines()]
    assert "no fixations_val2014.json" in said
    assert salprobe("data", "info", "saliconn") == 2
    assert "did you mean salicon" in capsys.readouterr().err


def test_converted_on_the_command_line(tmp_path: Path, salprobe: SalProbe, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "train=3", "--set", "test=2", "--set", "height=64", "--set", "width=96"]
    out = tmp_path / "out"
    assert salprobe("data", "convert", "demo", *small, "--to", "folder", "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "recipe lines:\ndataset:\n  reader: folder\n" in said
    assert "  title: demo (synthetic)\n  cite: demo\n" in said
    assert salprobe("data", "convert", "demo", *small, "--to", "folder", "--out", str(out)) == 3
    assert "is not empty" in capsys.readouterr().err
    again = ["--set", f"root={out}", "--set", "points=simulated", "--set", "cite=demo", "--no-picture"]
    assert salprobe("data", "info", "folder", *again) == 0
    said = capsys.readouterr().out
    assert ["images", "3", "2"] in [line.split() for line in said.splitlines()]
    assert "citation: none: generated scenes" in said


def test_whom_to_cite_for_data_in_a_general_layout() -> None:
    assert Salicon(edition=2015, points="mouse").cited is Salicon.source
    assert Salicon(edition="custom", points="eye").cited is OWN
    assert Salicon(edition="custom", points="eye", cite="osie").cited is Osie.source
    assert Folder().cited is OWN
    assert Folder(cite="osie").cited is Osie.source
    with pytest.raises(UnknownNameError, match="did you mean osie"):
        _ = Folder(cite="osieh").cited


def test_results_record_it_and_runs_keep_their_names(tmp_path: Path) -> None:
    dataset = looked(tmp_path, [[0]])
    recorded = about(dataset, sources=[Osie.source])["source"]
    assert recorded["citation"].startswith("Xu, Jiang")
    assert set(recorded) == {"citation", "licence", "home"}
    assert about(dataset, sources=[None])["source"] is None
    json.dumps(recorded)
    asked = load_recipe("osie")
    assert asked.dataset.parameters["cite"] == "osie"
    assert matrix_id(asked, dataset) == matrix_id(load_recipe("osie", ["dataset.cite=null"]), dataset)
    assert matrix_id(asked, dataset) != matrix_id(load_recipe("osie", ["dataset.points=mouse"]), dataset)


@pytest.mark.skipif("SALPROBE_TEST_DATA" not in os.environ, reason="needs real gaze: set SALPROBE_TEST_DATA")
def test_real_gaze(tmp_path: Path, salprobe: SalProbe, capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(os.environ["SALPROBE_TEST_DATA"]) / "osie640"
    assert salprobe("data", "info", "osie", "--set", f"root={root}", "--out", str(tmp_path)) == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert ["images", "500", "200"] in lines
    assert ["observers", "15", "15"] in lines
    assert "Predicting human gaze beyond pixels" in said
    assert (tmp_path / "osie-data.png").stat().st_size > 100_000
