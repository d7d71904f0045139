"""SALICON's .mat files, written as the release has them: gaze against the numbers that went in."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from harness.data import _gaze_mat, _gaze_source
from harness.data._gaze_columns import GazeColumns
from harness.data._kept_columns import keep_images, load_columns
from harness.data._mat_columns import columns_of_images
from harness.data.dataset import Dataset
from harness.data.salicon import Salicon
from harness.errors import DataError
from harness.progress import NO_BAR, Silent
from tests.harness.data.dying import die
from tests.harness.data.roots import SIZE, save_jpeg, two_images, write_root

Observer = tuple[list[list[float]], list[int], list[list[float]]]
"""location, timestamp, fixations."""
OBSERVERS: list[Observer] = [
    ([[1, 1], [20, 12], [21, 12], [3, 0]], [0, 10, 25, 30], [[5, 2]]),
    ([], [], [[20, 12], [1, 1]]),
    ([[7, 4]], [4], []),
]


def write_mat(file: Path, observers: list[Observer], size: tuple[int, int] = SIZE, **changes: Any) -> None:
    """`gaze` is an n x 1 struct array, as MATLAB saves it; an empty matrix is 0 x 0."""
    dtype = [("location", object), ("timestamp", object), ("fixations", object)]
    gaze = np.empty((len(observers), 1), dtype=dtype)
    for index, (location, timestamp, fixations) in enumerate(observers):
        gaze[index, 0] = (
            np.array(location, np.int16).reshape(-1, 2) if location else np.empty((0, 0)),
            np.array(timestamp, np.int32).reshape(-1, 1),
            np.array(fixations, np.int16).reshape(-1, 2) if fixations else np.empty((0, 0)),
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {"image": file.stem, "resolution": np.array([size]), "gaze": gaze, **changes})


def write_split(root: Path, split: str = "train", numbers: tuple[int, ...] = (25, 9)) -> Path:
    for number in numbers:
        stem = f"COCO_{split}2014_{number:012d}"
        save_jpeg(root / "images" / f"{stem}.jpg", seed=number)
        write_mat(root / "fixations" / split / f"{stem}.mat", OBSERVERS)
    return root / "fixations" / split


def read(root: Path, points: str = "mouse", **parameters: Any) -> Dataset:
    return Salicon(root=str(root), **{"edition": "2015", "points": points, **parameters}).read("train")  # type: ignore[arg-type]


def triples(dataset: Dataset, index: int) -> list[tuple[int, int, int]]:
    found = dataset.points(index)
    return list(zip(found.row.tolist(), found.col.tolist(), found.observer.tolist(), strict=True))


def test_mouse_samples_are_row_and_column_with_their_times(tmp_path: Path) -> None:
    write_split(tmp_path)
    dataset = read(tmp_path)
    assert dataset.ids.tolist() == [9, 25]
    assert [file.name for file in dataset.files] == [
        "COCO_train2014_000000000009.jpg",
        "COCO_train2014_000000000025.jpg",
    ]
    assert triples(dataset, 0) == [(0, 0, 0), (11, 19, 0), (3, 6, 2)]
    assert dataset.dropped == 4
    assert dataset.time is not None
    assert dataset.time.tolist() == [0, 10, 4] * 2
    assert dataset.take([1]).time.tolist() == [0, 10, 4]  # type: ignore[union-attr]


def test_fixations_are_the_other_field_and_have_no_times(tmp_path: Path) -> None:
    write_split(tmp_path)
    dataset = read(tmp_path, "fixations")
    assert triples(dataset, 1) == [(1, 4, 0), (11, 19, 1), (0, 0, 1)]
    assert (dataset.dropped, dataset.time) == (0, None)


def test_the_edition_says_which_of_both_is_meant(tmp_path: Path) -> None:
    write_split(tmp_path)
    write_root(tmp_path, two_images())
    assert read(tmp_path, edition="2017").ids.tolist() == [9, 25]
    assert read(tmp_path, edition="2014").ids.tolist() == [3, 5]
    assert read(tmp_path, edition="custom", train="fixations/train").ids.tolist() == [9, 25]
    assert read(tmp_path, points="eye").ids.tolist() == [3, 5]


def test_a_missing_file_says_that_there_are_others(tmp_path: Path) -> None:
    write_split(tmp_path)
    with pytest.raises(DataError, match=r"fixations/train/ has \.mat files, which are editions 2015 and 2017"):
        read(tmp_path, edition="2014")


def test_many_files_are_read_side_by_side_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALPROBE_CACHE", str(tmp_path / "cache"))
    folder = write_split(tmp_path, numbers=tuple(range(1, 8)))
    few = read(tmp_path)
    for module in (_gaze_mat, _gaze_source):
        monkeypatch.setattr(module, "FEW", 2)
    Salicon(root=str(tmp_path), edition="2015", points="mouse").prepare("train", Silent())
    monkeypatch.setattr(_gaze_source, "read_mat_files", None)
    many = read(tmp_path)
    assert many.digest == few.digest
    assert not many.row.flags.owndata
    write_mat(folder / f"COCO_train2014_{99:012d}.mat", OBSERVERS)
    with pytest.raises(TypeError):  # another folder by now: it would be read again
        read(tmp_path)


@pytest.mark.parametrize("kind", ["mouse", "fixations"])
@pytest.mark.parametrize("spoilt", [False, True])
def test_columns_that_grow_on_the_disk_are_those_in_memory(tmp_path: Path, kind: Any, spoilt: bool) -> None:
    folder = write_split(tmp_path, numbers=tuple(range(1, 8)))
    if spoilt:
        (folder / f"COCO_train2014_{3:012d}.mat").write_text("no")
        gaze = np.empty((1, 1), dtype=[("location", object), ("fixations", object)])  # without times
        gaze[0, 0] = (np.ones((2, 2)), np.ones((1, 2)))
        write_mat(folder / f"COCO_train2014_{5:012d}.mat", OBSERVERS, gaze=gaze)
    files = _gaze_mat.mat_files(folder)
    memory = columns_of_images(_gaze_mat.read_mat_files(files, kind, NO_BAR))
    keep_images(_gaze_mat.read_mat_files(files, kind, NO_BAR), tmp_path / "kept")
    disk = load_columns(tmp_path / "kept")
    assert disk is not None
    for field in fields(GazeColumns):
        here, there = getattr(memory, field.name), getattr(disk, field.name)
        if isinstance(here, np.ndarray):
            assert here.dtype == there.dtype
            np.testing.assert_array_equal(here, there)
        else:
            assert list(here) == list(there)
    assert (len(memory.time) > 0) == (kind == "mouse" and not spoilt)
    assert memory.problems == disk.problems


def test_where_nothing_can_be_kept_files_are_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALPROBE_CACHE", str(tmp_path / "cache"))
    write_split(tmp_path, numbers=tuple(range(1, 8)))
    few = read(tmp_path)
    (tmp_path / "cache").write_text("in the way")
    for module in (_gaze_mat, _gaze_source):
        monkeypatch.setattr(module, "FEW", 2)
    assert read(tmp_path).digest == few.digest


def test_processes_that_read_mat_files_do_without_torch() -> None:
    code = "import sys, harness.data._gaze_mat; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_a_reading_process_that_dies_is_told(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.mat" for number in range(3)]
    with pytest.raises(DataError, match=r"process that read \.mat files is gone"):
        list(_gaze_mat._side_by_side(die, files))


def _truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def _text(file: Path) -> None:
    file.write_text("not a mat file")


def _no_gaze(file: Path) -> None:
    savemat(file, {"resolution": np.array([SIZE])})


def _flat(file: Path) -> None:
    savemat(file, {"resolution": np.array([SIZE]), "gaze": np.ones(3)})


def _no_size(file: Path) -> None:
    write_mat(file, OBSERVERS, resolution=np.empty((0, 0)))


def _three_columns(file: Path) -> None:
    gaze = np.empty((1, 1), dtype=[("location", object)])
    gaze[0, 0] = (np.ones((4, 3)),)
    write_mat(file, OBSERVERS, gaze=gaze)


def _times(file: Path) -> None:
    write_mat(file, [([[1, 1]], [1, 2], [])])


def _nobody(file: Path) -> None:
    write_mat(file, [([[0, 0]], [1], [])])


def _other_size(file: Path) -> None:
    write_mat(file, OBSERVERS, size=(11, 20))


BAD = {
    "truncated": (_truncated, "cannot be read"),
    "text": (_text, "cannot be read"),
    "no gaze": (_no_gaze, "no struct array 'gaze' with the field 'location'"),
    "flat": (_flat, "no struct array 'gaze'"),
    "no size": (_no_size, "no 'resolution'"),
    "three columns": (_three_columns, "must be n x 2 numbers, found 4x3"),
    "times": (_times, "as many timestamps as samples"),
    "nobody": (_nobody, "has no fixations"),
    "other size": (_other_size, "its gaze belongs to another raster"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_named_and_the_rest_can_go_on(tmp_path: Path, spoil: Any, message: str) -> None:
    spoil(write_split(tmp_path) / "COCO_train2014_000000000025.mat")
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path)
    assert "image 25" in str(caught.value)
    dataset = read(tmp_path, on_bad="skip")
    assert dataset.ids.tolist() == [9]
    assert len(dataset.skipped) == 1


def test_names_must_tell_images_apart(tmp_path: Path) -> None:
    folder = write_split(tmp_path)
    write_mat(folder / "other_9.mat", OBSERVERS)
    with pytest.raises(DataError, match="are both of image 9"):
        read(tmp_path)
    (folder / "other_9.mat").rename(folder / "other.mat")
    with pytest.raises(DataError, match="must end in the image's number"):
        read(tmp_path)
