"""A planted leak: held-out images that are training images, too."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import overlap
from harness.data.dataset import Dataset
from harness.errors import DataError
from harness.finished_run import read_run
from harness.overlap import find_overlap, overlap_words, refuse_overlap
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import read_cells
from harness.run import matrix_id, run
from harness.tracking.record import tags
from reports._board import read_board
from reports.provenance import facts
from tests.harness.data.roots import annotation, image, write_root
from tests.test_cli import salprobe


def dataset(folder: Path, contents: list[bytes], *, digests: bool) -> Dataset:
    """Images that hold these bytes, which nobody decodes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = tuple(folder / f"{i}.jpg" for i in range(len(contents)))
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    none, ones = np.zeros(0, np.int32), np.ones(len(files), np.int32)
    sha256 = tuple(hashlib.sha256(content).hexdigest() for content in contents) if digests else ()
    offset = np.zeros(len(files) + 1, np.int64)
    ids = np.arange(len(files))
    return Dataset("d", "train", "1", "eye", ids, files, ones, ones, offset, none, none, none, image_sha256=sha256)


CONTENTS = st.lists(st.binary(max_size=2), max_size=6)


@given(CONTENTS, CONTENTS, st.booleans(), st.booleans())
def test_the_same_bytes_are_found_with_and_without_digests(
    tmp_path_factory: pytest.TempPathFactory, train: list[bytes], test: list[bytes], a: bool, b: bool
) -> None:
    folder = tmp_path_factory.mktemp("overlap")
    one, other = dataset(folder / "train", train, digests=a), dataset(folder / "test", test, digests=b)
    found = find_overlap(one, other)
    assert [held_out.read_bytes() for held_out, _ in found.pairs] == [c for c in test if c in train]
    assert all(held_out.read_bytes() == training.read_bytes() for held_out, training in found.pairs)
    shutil.rmtree(folder)


def test_only_files_of_equal_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    sha256 = overlap._sha256
    monkeypatch.setattr(overlap, "_sha256", lambda file: read.append(file.parent.name + file.name) or sha256(file))
    train = dataset(tmp_path / "a", [b"1", b"22", b"333"], digests=False)
    test = dataset(tmp_path / "b", [b"4444", b"23", b"55555"], digests=False)
    assert len(find_overlap(train, test)) == 0
    assert read == ["a1.jpg", "b1.jpg"]
    read.clear()
    known = [dataclasses.replace(d, image_sha256=("1", "2", "3")) for d in (train, test)]
    assert len(find_overlap(*known)) == 3
    assert read == []


def planted(root: Path) -> dict[str, Any]:
    """Six training and four held-out images; 11.jpg and 12.jpg are 1.jpg and 2.jpg under other names."""
    for split, ids in (("train", range(1, 7)), ("test", range(11, 15))):
        gaze = [annotation(id_, id_, [[id_ % 10 + 1, 5], [3, 4]], worker) for id_ in ids for worker in (1, 2)]
        for number, one in enumerate(gaze):
            one["id"] = number
        write_root(root, {"images": [image(id_) for id_ in ids], "annotations": gaze}, split=split)
    for copy, original in ((11, 1), (12, 2)):
        shutil.copy(root / "images" / f"{original}.jpg", root / "images" / f"{copy}.jpg")
    data = {"reader": "salicon", "root": str(root), "edition": "custom", "points": "eye"}
    return {"name": "leak", "dataset": data, "probes": ["centre"], "folds": 2, "pictures": 0}


def test_a_planted_leak_is_refused_with_the_files_of_both_sides(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        run(make_plan(parse_recipe(planted(tmp_path))), tmp_path / "out", Silent())
    words = str(refused.value)
    assert words.startswith("2 of 4 held-out images are training images, too")
    assert f"{tmp_path}/images/11.jpg is {tmp_path}/images/1.jpg" in words
    assert "allow_overlap: [11.jpg, 12.jpg]" in words
    assert not list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_the_command_ends_with_3(tmp_path: Path, more: list[str]) -> None:
    recipe = tmp_path / "leak.yaml"
    recipe.write_text(json.dumps(planted(tmp_path)))
    ended = salprobe("run", str(recipe), "--out", str(tmp_path / "out"), "--no-track", *more)
    assert ended.returncode == 3
    assert "2 of 4 held-out images" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("allowed", [True, ["11.jpg", "12.jpg"]])
def test_an_allowed_overlap_is_written_wherever_numbers_are(tmp_path: Path, allowed: Any) -> None:
    recipe = planted(tmp_path)
    plain, allowing = (parse_recipe({**recipe, **more}) for more in ({}, {"allow_overlap": allowed}))
    folder = run(make_plan(allowing), tmp_path / "out", Silent()).folder
    ended = read_run(folder)
    assert ended.record.dataset["overlap"]["images"] == 2
    assert ended.record.dataset["overlap"]["allow_overlap"] == allowed
    assert ended.record.dataset["overlap"]["files"][0][0].endswith("/11.jpg")
    words = "2 of 4 held-out images are training images, too (allow_overlap)"
    assert overlap_words(ended.record.dataset) == words
    told = tags(ended.record, ended.results[0])
    assert told["overlap"] == "2"
    assert words in told["warnings"]
    board = read_board(folder)
    assert ("every cell", words) in board.warnings
    assert facts(board)["overlap"] == words
    assert set(read_cells(folder).status) == {"finished"}
    assert matrix_id(plain) == matrix_id(allowing)  # the images' digests tell such data apart


def test_only_the_named_images_are_allowed(tmp_path: Path) -> None:
    train = dataset(tmp_path / "a", [b"1", b"2", b"3"], digests=True)
    test = dataset(tmp_path / "b", [b"1", b"2"], digests=True)
    assert len(refuse_overlap(train, test, True)) == 2
    assert len(refuse_overlap(train, test, ["0.jpg", "1.jpg"])) == 2
    with pytest.raises(DataError, match=r"1 of 2 held-out.*\n.*1\.jpg"):
        refuse_overlap(train, test, ["0.jpg"])
    with pytest.raises(DataError, match=r"2 of 2 held-out"):
        refuse_overlap(train, test, False)
