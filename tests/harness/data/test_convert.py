"""What is converted and read back is what it was."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data._annotation_stream import stream_annotations
from harness.data._splitting import Splitting
from harness.data.convert import MANIFEST, Conversion, Converted
from harness.data.dataset import DATASETS, Dataset, DatasetReader
from harness.data.demo import Demo
from harness.data.mit1003 import Mit1003
from harness.data.osie import Osie
from harness.data.salicon import Salicon
from harness.errors import DataError
from harness.plan import build
from harness.progress import NO_BAR, Silent
from harness.recipe import DatasetEntry
from tests.harness.data.eye_trackers import mit_root, osie_root
from tests.harness.data.roots import save_jpeg

FORMS: list[dict[str, Any]] = [{"form": "salicon"}, {"form": "folder"}, {"form": "folder", "table": "csv"}]
SIZES = [(12, 20), (20, 12), (31, 17)]
Looked = tuple[str, Sequence[tuple[int, int, int]]]
forms = pytest.mark.parametrize("form", FORMS, ids=["salicon", "parquet", "csv"])


def contents(dataset: Dataset) -> list[Any]:
    """Everything of a split by image, people by what they are called, everybody's points in their order."""
    labels = dataset.observer_labels or range(10**6)
    found = []
    for index in np.argsort(dataset.ids, kind="stable").tolist():
        part = slice(dataset.offset[index], dataset.offset[index + 1])
        times = [None] * (part.stop - part.start) if dataset.time is None else dataset.time[part].tolist()
        people: dict[str, list[Any]] = {}
        columns = (dataset.row[part].tolist(), dataset.col[part].tolist(), dataset.observer[part].tolist(), times)
        for row, col, observer, time in zip(*columns, strict=True):
            people.setdefault(str(labels[observer]), []).append((row, col, time))
        found.append((int(dataset.ids[index]), dataset.image_sha256[index], dataset.size(index), people))
    return found


def read_back(done: Converted) -> list[Dataset]:
    entry = DatasetEntry.model_validate(done.entry("a title", None))
    reader: DatasetReader = build(DATASETS, entry, "dataset")
    return [reader.read("train"), reader.read("test")]


def convert(splits: Sequence[Dataset], out: Path, **how: Any) -> Converted:
    return Conversion(out.absolute(), **how).write(splits, "a title", None, Silent())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stimuli")
    for number in range(6):
        save_jpeg(folder / f"{number}.jpg", SIZES[number % 3], seed=number)
        save_jpeg(folder / "more" / f"{number}.jpg", SIZES[number % 3], seed=number + 10)
    return folder


def made(folder: Path, split: Any, looked: Sequence[Looked]) -> Dataset:
    pairs = [(folder / name, np.array(points).reshape(-1, 3)) for name, points in looked]
    return Dataset.from_fixations("made", split, pairs)


@st.composite
def stimuli(draw: st.DrawFn) -> list[Looked]:
    """At least one image with gaze; the same image, point and observer may come twice."""
    found: list[Looked] = []
    for number in draw(st.lists(st.integers(0, 11), min_size=1, max_size=5)):
        height, width = SIZES[number % 3]
        point = st.tuples(st.integers(0, height - 1), st.integers(0, width - 1), st.integers(0, 3))
        points = draw(st.lists(point, min_size=not found, max_size=8))
        found.append((f"{number}.jpg" if number < 6 else f"more/{number - 6}.jpg", points + points[:1]))
    return found


@forms
@given(train=stimuli(), test=stimuli(), labels=st.sampled_from([(), (4, 7, 11, 300), ("NA", "007", "7", 'ö, "x"')]))
@settings(max_examples=10)
def test_round_trip(
    images: Path, form: dict[str, Any], train: list[Looked], test: list[Looked], labels: tuple[int | str, ...]
) -> None:
    rng = np.random.default_rng(0)
    splits = [made(images, split, looked) for split, looked in (("train", train), ("test", test))]
    splits = [
        dataclasses.replace(
            dataset,
            ids=dataset.ids * 10 + (5 if dataset.split == "test" else 0),
            observer_labels=labels,
            time=None if form["form"] == "salicon" else rng.integers(0, 5000, len(dataset.row)).astype(np.int32),
        )
        for dataset in splits
    ]
    with tempfile.TemporaryDirectory() as folder:
        done = convert(splits, Path(folder) / "out", **form)
        back = read_back(done)
        for before, after in zip(splits, back, strict=True):
            every = contents(before)
            assert contents(after) == [image for image in every if image[3]]
            assert [s.id for s in after.skipped] == [image[0] for image in every if not image[3]]
            assert all("no fixations" in s.reason or "no gaze" in s.reason for s in after.skipped)


def columns(dataset: Dataset) -> dict[str, Any]:
    names = ("ids", "height", "width", "offset", "row", "col", "observer")
    return {name: getattr(dataset, name).tolist() for name in names} | {
        "sha256": dataset.image_sha256,
        "people": dataset.observer_labels,
        "time": None if dataset.time is None else dataset.time.tolist(),
    }


def looked(rng: np.random.Generator, size: tuple[int, int]) -> list[list[tuple[float, float]]]:
    """Three people's points, 1-based x and y."""
    return [
        [(float(rng.integers(1, size[1] + 1)), float(rng.integers(1, size[0] + 1))) for _ in range(n)]
        for n in (3, 1, 2)
    ]


@forms
def test_the_same_columns_from_every_release(tmp_path: Path, form: dict[str, Any]) -> None:
    rng, split = np.random.default_rng(3), Splitting(test=2)
    sizes = {f"i{n}.jpeg": SIZES[n % 3] for n in range(6)}
    osie = osie_root(tmp_path / "osie", {f"{n}.jpg": looked(rng, (60, 80)) for n in range(1001, 1007)})
    mit = mit_root(tmp_path / "mit", {name: looked(rng, size) for name, size in sizes.items()}, sizes)
    readers = [
        Osie(root=str(osie), split=split),
        Mit1003(root=str(mit), split=split),
        Demo(train=3, test=2, height=64, width=96),
    ]
    for reader in readers:
        before = [reader.read("train"), reader.read("test")]
        after = read_back(convert(before, tmp_path / f"{reader.name}-out", **form))
        assert [columns(dataset) for dataset in after] == [columns(dataset) for dataset in before]
        assert [dataset.synthetic for dataset in after] == [dataset.synthetic for dataset in before]


REAL = [
    ("osie640", {"form": "salicon"}, None),
    ("osie640", {"form": "folder"}, 30),
    ("salicon71", {"form": "salicon"}, 3),
    ("salicon71", {"form": "folder"}, 3),
]


@pytest.mark.skipif("SALPROBE_TEST_DATA" not in os.environ, reason="needs real gaze: set SALPROBE_TEST_DATA")
@pytest.mark.parametrize(("name", "form", "limit"), REAL)
def test_real_gaze_comes_back(tmp_path: Path, name: str, form: dict[str, Any], limit: int | None) -> None:
    root = Path(os.environ["SALPROBE_TEST_DATA"]) / name
    files = {"train": "fixations_eye_train.json", "test": "fixations_eye_val.json"} if name == "osie640" else {}
    reader = Salicon(root=str(root), edition="custom", points="eye", **files)
    before = [dataset.take(range(limit or len(dataset))) for dataset in (reader.read("train"), reader.read("test"))]
    after = read_back(convert(before, tmp_path / "out", images="copy", **form))
    if name == "osie640":  # the same people look at every image: their numbers are the same, too
        assert [columns(dataset) | {"people": ()} for dataset in after] == [
            columns(dataset) | {"people": ()} for dataset in before
        ]
    assert [contents(d.take(range(min(len(d), 30)))) for d in after] == [
        contents(d.take(range(min(len(d), 30)))) for d in before
    ]


def test_a_large_file_would_be_read_in_pieces(images: Path, tmp_path: Path) -> None:
    splits = [
        made(images, "train", [("0.jpg", [(1, 2, 0), (1, 2, 0)]), ("1.jpg", [])]),
        made(images, "test", [("2.jpg", [(0, 0, 1)])]),
    ]
    convert(splits, tmp_path / "out", form="salicon")
    document = stream_annotations(tmp_path / "out/annotations/fixations_train2014.json", NO_BAR)
    assert document is not None
    (annotation,) = document["annotations"]
    assert (annotation["worker_id"], annotation["fixations"].tolist()) == (0, [[2, 3], [2, 3]])
    assert [image["file_name"] for image in document["images"]] == ["0.jpg", "1.jpg"]


def two(images: Path) -> list[Dataset]:
    return [
        made(images, "train", [("0.jpg", [(1, 2, 0)]), ("more/0.jpg", [(3, 4, 1)])]),
        made(images, "test", [("2.jpg", [(0, 0, 1)])]),
    ]


@forms
def test_linked_images_are_the_same_files(images: Path, tmp_path: Path, form: dict[str, Any]) -> None:
    # pytest's folders are all below one: on one disk
    back = read_back(convert(two(images), tmp_path / "out", images="link", **form))
    assert back[0].files[0].samefile(images / "0.jpg")
    assert {file.name for file in back[0].files} == {"0.jpg"}
    assert not back[0].files[0].samefile(back[0].files[1])


@forms
@pytest.mark.parametrize("below", ["images", "pictures"])
def test_images_left_in_place(tmp_path: Path, form: dict[str, Any], below: str) -> None:
    for number, name in enumerate(["0.jpg", "more/0.jpg", "2.jpg"]):
        save_jpeg(tmp_path / below / name, SIZES[0], seed=number)
    before = two(tmp_path / below)
    back = read_back(convert(before, tmp_path, images="leave", **form))
    # ids are shared by the splits, which a table does not allow
    assert [image[1:] for d in back for image in contents(d)] == [image[1:] for d in before for image in contents(d)]
    assert back[0].files == before[0].files
    assert not (tmp_path / "images" / "train").exists()


def test_images_elsewhere_cannot_be_left_in_place(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can be left in place only below"):
        convert(two(images), tmp_path, form="salicon", images="leave")
    assert not list(tmp_path.iterdir())


def test_an_image_that_the_reader_would_mistake_is_refused(tmp_path: Path) -> None:
    for number, name in enumerate(["train/0.jpg", "images/train/0.jpg", "2.jpg"]):
        save_jpeg(tmp_path / name, seed=number)
    splits = [made(tmp_path, "train", [("train/0.jpg", [(1, 2, 0)])]), made(tmp_path, "test", [("2.jpg", [(0, 0, 1)])])]
    with pytest.raises(DataError, match=r"train/0\.jpg the reader would take .*images/train/0\.jpg"):
        convert(splits, tmp_path, form="salicon", images="leave")


def test_nothing_is_overwritten_unasked(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    convert(two(images), out, form="folder")  # an empty folder is as good as none
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(DataError, match="is not empty"):
        convert(two(images), out, form="salicon")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"has notes\.txt, which this command did not write"):
        convert(two(images), out, form="salicon", overwrite=True)
    (out / "notes.txt").unlink()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    convert(two(images), out, form="salicon", overwrite=True)
    assert not (out / "gaze.parquet").exists()
    assert sorted(json.loads((out / MANIFEST).read_text())["files"])[0] == "annotations/fixations_train2014.json"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_gaze_beside_images_is_not_overwritten_unasked(tmp_path: Path) -> None:
    for number, name in enumerate(["0.jpg", "more/0.jpg", "2.jpg"]):
        save_jpeg(tmp_path / name, SIZES[0], seed=number)
    (tmp_path / "gaze.csv").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"gaze\.csv is there already"):
            convert(two(tmp_path), tmp_path, form="folder", images="leave", overwrite=overwrite)
    assert (tmp_path / "gaze.csv").read_text() == "mine"
    (tmp_path / "gaze.csv").unlink()
    convert(two(tmp_path), tmp_path, form="folder", table="csv", images="leave")
    done = convert(two(tmp_path), tmp_path, form="folder", images="leave", overwrite=True)
    assert sorted(path.name for path in tmp_path.glob("gaze.*")) == ["gaze.parquet"]
    assert len(read_back(done)[0]) == 2


@pytest.mark.parametrize("there", [False, True])
def test_half_a_conversion_leaves_nothing(images: Path, tmp_path: Path, there: bool) -> None:
    out = tmp_path / "out"
    if there:
        convert(two(images), out, form="folder")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    splits = two(images)
    splits[1] = dataclasses.replace(splits[1], files=(images / "gone.jpg",))
    with pytest.raises(DataError, match=r"gone\.jpg: cannot be put into the new dataset"):
        convert(splits, out, form="salicon", overwrite=True)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_people_that_a_table_cannot_tell_apart(images: Path, tmp_path: Path) -> None:
    splits = [dataclasses.replace(dataset, observer_labels=(7, "7")) for dataset in two(images)]
    with pytest.raises(DataError, match="two observers are called 7"):
        convert(splits, tmp_path / "out", form="folder")
    back = read_back(convert(splits, tmp_path / "out", form="salicon"))
    assert back[0].observer_labels == (7, "7")
