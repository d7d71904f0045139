"""`salprobe data check` on folders as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from harness.data import _survey
from harness.data._released import SIGMAS, read_released
from harness.data._survey import Gaze, survey
from harness.data.images import BadImageError
from harness.data.salicon import Salicon
from harness.data_check import check
from harness.density import blur
from harness.errors import DataError
from harness.progress import Silent
from tests.harness.data.roots import SIZE, two_images, write_root
from tests.harness.data.test_gaze_mat import write_split


def test_everything_is_counted(tmp_path: Path) -> None:
    write_split(tmp_path)
    write_root(tmp_path, two_images(), split="test", images="images/val")
    found = survey(tmp_path, Silent(), images=True)
    assert found.images == {"images": 2, "images/val": 2}
    rows = {(g.split, g.points): (g.images, g.observers, g.count, g.outside) for g in found.gaze}
    assert rows == {
        ("train", "fixations"): (2, 6, 6, 0),
        ("train", "mouse"): (2, 6, 10, 4),
        ("test", "mouse"): (2, 4, 5, 0),
    }
    assert found.unreadable == []
    assert [g.edition for g in found.gaze] == [None] * 3


@pytest.mark.parametrize(("edition", "kind"), _survey.KNOWN_POINTS)
def test_an_edition_is_known_by_its_exact_total(edition: str, kind: _survey.Kind) -> None:
    for split, total in _survey.KNOWN_POINTS[edition, kind].items():
        assert Gaze(split, "x", kind, 1, 1, total, 0, 0).edition == edition
        assert Gaze(split, "x", kind, 1, 1, total + 1, 0, 0).edition is None


def test_what_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_split(tmp_path)
    (folder / "COCO_train2014_000000000025.mat").write_text("no")
    (tmp_path / "images" / "COCO_train2014_000000000009.jpg").write_bytes(b"no")
    (tmp_path / "fixations_val2014.json").write_text("{")
    assert check(tmp_path, images=True) == DataError.exit_code
    said = " ".join(capsys.readouterr().out.split())
    for words in ("000000000025.mat cannot be read", "000000000009.jpg", "not JSON"):
        assert words in said
    assert f"root: {tmp_path}" in said.replace(" /", " /")
    with pytest.raises(DataError, match="no such folder"):
        check(tmp_path / "nowhere")


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path) == DataError.exit_code
    said = capsys.readouterr().out
    assert "looked in images/" in said
    assert "no gaze" in said


def test_what_a_run_would_stumble_over_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = two_images()
    document["annotations"][0]["fixations"] = [[13, 4], [1, 1]]
    write_root(tmp_path, document, split="test")
    write_split(tmp_path)
    (tmp_path / "images" / "3.jpg").unlink()
    (tmp_path / "images" / "COCO_train2014_000000000009.jpg").unlink()
    assert check(tmp_path) == DataError.exit_code
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "annotation 1 has the point [13, 4], outside the image",
        "annotations/fixations_val2014.json: 1 images are in no folder, the first is 3.jpg",
        "fixations/train: 1 images are in no folder, the first is COCO_train2014_000000000009.jpg",
        "fixations/train (mouse): 4 points outside their image are dropped",
        "images: 2 (1 of 10,000 train) image files",
        "--images checks each",
        "edition: 2015 # the nearest",
    ):
        assert words in said
    assert [(g.points, g.timed) for g in survey(tmp_path, Silent()).gaze] == [
        ("fixations", False), ("mouse", True), ("mouse", False),
    ]  # fmt: skip


def test_what_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A split without gaze can be mended by `split:`; an image that is listed and lost cannot."""
    write_root(tmp_path, two_images())
    assert check(tmp_path) == 0
    said = capsys.readouterr().out
    assert "train (mouse): annotations/fixations_train2014.json: 2 of 10,000 images, 4 observers, 5 points, 0" in said
    assert "no test gaze: fixations_val2014.json is not there; a run needs both splits, or dataset.split" in said
    (tmp_path / "images" / "3.jpg").unlink()
    assert check(tmp_path) == DataError.exit_code


def test_the_recipe_lines_are_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_split(tmp_path)
    assert check(tmp_path) == 0
    lines = capsys.readouterr().out.partition("recipe lines:\n")[2]
    parameters = yaml.safe_load(lines)["dataset"]
    assert parameters.pop("reader") == "salicon"
    assert len(Salicon(**parameters).read("train")) == 2


def test_maps_that_cannot_be_compared_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    write_root(tmp_path, two_images())
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "3.png").write_text("no")
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(tmp_path / "maps" / "5.png")  # constant: no correlation
    found = survey(tmp_path, Silent())
    assert found.maps["train"].images == 0
    assert len(found.unreadable) == 1
    assert "3.png: image 3: released map cannot be read" in found.unreadable[0]
    assert check(tmp_path) == DataError.exit_code


@pytest.mark.parametrize("sigma", [12.0, 19.0, 28.0])
def test_released_maps_tell_the_blur_they_were_made_with(tmp_path: Path, sigma: float) -> None:
    document, size = two_images(), (480, 640)
    random = np.random.default_rng(0)
    for image, annotation in zip(document["images"], document["annotations"][::2], strict=True):
        image["height"], image["width"] = size
        annotation["fixations"] = np.stack([random.integers(1, n + 1, 9) for n in size], axis=1).tolist()
        annotation["image_id"] = image["id"]
        counts = torch.zeros(1, *size)
        for row, col in annotation["fixations"]:
            counts[0, row - 1, col - 1] += 1
        density = blur(counts, sigma)[0].numpy()
        path = tmp_path / "maps" / "train" / f"{image['id']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((density / density.max() * 255).round().astype(np.uint8)).save(path)
    document["annotations"] = document["annotations"][::2]
    write_root(tmp_path, document)
    found = survey(tmp_path, Silent()).maps["train"]
    assert found.images == 2
    assert found.best_sigma == sigma
    assert found.best_correlation > 0.999
    assert (found.correlation > 0.999) == (sigma == 19.0)
    assert sigma in SIGMAS


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    Image.new("L", (3, 4)).save(tmp_path / "a.png")
    assert read_released(tmp_path / "a.png", 1, (4, 3)).shape == (4, 3)
    with pytest.raises(BadImageError, match=f"4x3, its image {SIZE[0]}x{SIZE[1]}"):
        read_released(tmp_path / "a.png", 1, SIZE)
