from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.data._splitting import Splitting
from harness.data.dataset import Dataset
from harness.data.folder import Folder
from harness.errors import DataError
from tests.harness.data.roots import SIZE, save_jpeg

ROWS = [
    {"image": "b.jpg", "observer": "ann", "x": 0, "y": 0},
    {"image": "a.jpg", "observer": "bob", "x": 19.9, "y": 11.2},
    {"image": "a.jpg", "observer": "ann", "x": 3, "y": 4},
    {"image": "a.jpg", "observer": "bob", "x": 20, "y": 3},
]


def write(root: Path, rows: list[dict[str, Any]], name: str = "gaze.csv", images: str = "images") -> str:
    root.mkdir(exist_ok=True)
    frame = pd.DataFrame(rows)
    if name.endswith("parquet"):
        frame.to_parquet(root / name)
    else:
        frame.to_csv(root / name, sep="\t" if name.endswith("tsv") else ",", index=False)
    for image in {row["image"] for row in rows}:
        save_jpeg(root / images / image)
    return str(root)


def read(root: str, **parameters: Any) -> Dataset:
    return Folder(root=root, **{"split": Splitting(test=1.0), **parameters}).read("test")


def of(dataset: Dataset, index: int) -> list[tuple[int, int, int]]:
    points = dataset.points(index)
    return list(zip(points.row.tolist(), points.col.tolist(), points.observer.tolist(), strict=True))


@pytest.mark.parametrize("name", ["gaze.csv", "gaze.tsv", "gaze.parquet"])
@pytest.mark.parametrize("images", ["images", "."])
def test_zero_based_x_then_y_and_points_outside_counted(tmp_path: Path, name: str, images: str) -> None:
    dataset = read(write(tmp_path, ROWS, name, images))
    assert dataset.ids.tolist() == [1, 2]
    assert (of(dataset, 0), of(dataset, 1)) == ([(4, 3, 0), (11, 19, 1)], [(0, 0, 0)])
    assert (dataset.dropped, dataset.observer_labels, dataset.size(0)) == (1, ("ann", "bob"), SIZE)


def test_origin_one(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, ROWS), origin=1, on_bad="skip")
    assert of(dataset, 0) == [(3, 2, 0), (10, 18, 1), (2, 19, 1)]
    assert [s.reason for s in dataset.skipped] == ["all of its 1 points lie outside it"]


def test_images_are_numbered_as_they_are_called_and_people_as_numbers(tmp_path: Path) -> None:
    rows = [{"image": f"{n}.jpg", "observer": who, "x": 1, "y": 1} for n, who in ((10, 10), (9, 9), (10, 2))]
    dataset = read(write(tmp_path, rows))
    assert (dataset.ids.tolist(), dataset.observer_labels) == ([9, 10], (2, 9, 10))
    assert of(dataset, 1) == [(1, 1, 0), (1, 1, 2)]


def test_id_split_and_time_columns(tmp_path: Path) -> None:
    extra = {"b.jpg": {"id": 5, "split": "val", "t": 7.9}, "a.jpg": {"id": 6, "split": "train", "t": 3}}
    root = write(tmp_path, [row | extra[row["image"]] for row in ROWS])
    test, train = Folder(root=root).read("test"), Folder(root=root).read("train")
    assert (test.ids.tolist(), train.ids.tolist()) == ([5], [6])
    assert test.time is not None
    assert test.time.tolist() == [7]
    assert len(Folder(root=root, split=Splitting(test=1.0)).read("test")) == 2


def change(index: int, **values: Any) -> list[dict[str, Any]]:
    return [row | values if n == index else row for n, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{k: v for k, v in row.items() if k != "observer"} for row in ROWS], "has no column observer"),
        (change(1, x="left"), "row 2: x must be a number, found 'left'"),
        (change(2, observer=None), "row 3 has no observer"),
        ([row | {"id": 1} for row in ROWS], "two images have the same id"),
        ([row | {"id": n} for n, row in enumerate(ROWS)], "image 'a.jpg' has rows of different id"),
        ([row | {"split": "dev"} for row in ROWS], "row 1: split must be train or test, found 'dev'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, rows))


def test_an_image_outside_the_folder_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "data", ROWS)
    (tmp_path / "data" / "gaze.csv").write_text("image,observer,x,y\n../secret.jpg,1,1,1\n")
    with pytest.raises(DataError, match="leaves the dataset's folder"):
        read(root)


def test_a_missing_image_and_a_missing_table(tmp_path: Path) -> None:
    root = write(tmp_path, ROWS)
    (tmp_path / "images" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"a\.jpg: image 1: cannot be read"):
        read(root)
    (tmp_path / "gaze.csv").unlink()
    with pytest.raises(DataError, match=r"no table of gaze; looked for gaze\.csv, gaze\.tsv, gaze\.parquet"):
        read(root)


@pytest.mark.parametrize("name", ["gaze.csv", "gaze.parquet"])
def test_a_row_may_say_that_nobody_looked(tmp_path: Path, name: str) -> None:
    root = write(tmp_path, [*ROWS, {"image": "c.jpg", "observer": None, "x": None, "y": None}], name)
    dataset = read(root, on_bad="skip")
    assert (len(dataset), dataset.dropped, dataset.observer_labels) == (2, 1, ("ann", "bob"))
    assert [(s.id, s.reason) for s in dataset.skipped] == [(3, "has no gaze")]
    with pytest.raises(DataError, match="image 3: has no gaze"):
        read(root)


def test_texts_of_a_csv_are_what_is_written(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "observer": who, "x": x, "y": 1} for who, x in (("NA", 1), ("007", "NaN"), ("7", 2))]
    root = write(tmp_path, rows)
    table = tmp_path / "gaze.csv"
    table.write_text(table.read_text().replace("observer", " Observer "))
    dataset = read(root)
    assert dataset.observer_labels == ("007", "7", "NA")
    assert (of(dataset, 0), dataset.dropped) == ([(1, 2, 1), (1, 1, 2)], 1)
