"""OSIE, MIT1003 and CAT2000 in the layouts of their releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.io import loadmat

from harness.data._splitting import Splitting
from harness.data.cat2000 import Cat2000, nonzero
from harness.data.dataset import DATASETS, Dataset
from harness.data.mit1003 import Mit1003
from harness.data.osie import Osie
from harness.errors import DataError
from tests.harness.data.eye_trackers import Paths, cat_root, cells, mit_root, osie_root, structs

ALL = Splitting(test=1.0)
GAZE: Paths = {
    "1002.jpg": [[(1, 1), (80.4, 60.4), (12.5, 3)], [(5, 6)]],
    "1001.jpg": [[], [(7, 8), (7, 8)]],
}


def of(dataset: Dataset, index: int) -> list[tuple[int, int, int]]:
    points = dataset.points(index)
    return list(zip(points.row.tolist(), points.col.tolist(), points.observer.tolist(), strict=True))


@pytest.mark.parametrize("array", [cells, structs])
def test_osie_is_one_based_x_then_y_rounded(tmp_path: Path, array: Any) -> None:
    dataset = Osie(root=str(osie_root(tmp_path, GAZE, array=array)), split=ALL).read("test")
    assert dataset.ids.tolist() == [1001, 1002]
    assert of(dataset, 0) == [(7, 6, 1), (7, 6, 1)]
    assert of(dataset, 1) == [(0, 0, 0), (59, 79, 0), (2, 12, 0), (5, 4, 1)]
    assert (dataset.edition, dataset.points_kind, dataset.dropped) == ("2014", "eye", 0)
    assert dataset.observer_labels == (1, 2)
    assert dataset.size(0) == (60, 80)


def test_the_file_has_the_form_that_others_read(tmp_path: Path) -> None:
    """Cells of 1 x 1 structs, as pysaliency and the authors' MATLAB code index them."""
    osie_root(tmp_path, GAZE)
    entries = loadmat(tmp_path / "data/eye/fixations.mat")["fixations"].flatten()
    assert entries[0][0, 0]["img"][0] == "1002.jpg"
    assert entries[0][0, 0]["subjects"].flatten()[0][0, 0]["fix_x"].flatten().tolist() == [1, 80.4, 12.5]


def test_points_outside_the_image_are_left_out_and_counted(tmp_path: Path) -> None:
    outside = [(0, 5), (81, 5), (5, -3), (5, 61), (float("nan"), 5), (1e300, 5)]
    paths: Paths = {"1001.jpg": [[*outside, (2, 2)], [(3, 3)]]}
    dataset = Osie(root=str(osie_root(tmp_path, paths)), split=ALL).read("test")
    assert dataset.dropped == len(outside)
    assert of(dataset, 0) == [(1, 1, 0), (2, 2, 1)]


def test_an_image_whose_gaze_is_all_outside_is_bad(tmp_path: Path) -> None:
    paths: Paths = {"1001.jpg": [[(900, 1)]], "1002.jpg": [[(1, 1)]]}
    root = str(osie_root(tmp_path, paths))
    with pytest.raises(DataError, match="all of its 1 points lie outside it"):
        Osie(root=root, split=ALL).read("test")
    dataset = Osie(root=root, split=ALL, on_bad="skip").read("test")
    assert (dataset.ids.tolist(), [s.id for s in dataset.skipped]) == ([1002], [1001])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.lists(st.tuples(st.integers(1, 80), st.integers(1, 60)), max_size=4), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, gaze: Any) -> None:
    """Any number of images, people and points, one of each included: MATLAB's singletons lose their axes."""
    paths: Paths = {f"{1001 + n}.jpg": subjects for n, subjects in enumerate(gaze) if any(subjects)}
    if not paths:
        return
    root = osie_root(tmp_path_factory.mktemp("osie"), paths)
    dataset = Osie(root=str(root), split=ALL).read("test")
    for index, subjects in enumerate(paths.values()):
        assert of(dataset, index) == [(y - 1, x - 1, who) for who, points in enumerate(subjects) for x, y in points]


def test_the_usual_split_of_osie_is_500_and_200() -> None:
    ids = list(range(1001, 1701))
    held = Osie().usual_split.held_out(ids, [f"{id}.jpg" for id in ids], Path())
    assert held.sum() == 200
    assert np.flatnonzero(held)[:10].tolist() == [1, 3, 4, 6, 7, 9, 11, 16, 21, 22]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "data/eye/fixations.mat").unlink(), "no fixations.mat; looked for data/eye"),
        (lambda root: (root / "data/eye/fixations.mat").write_bytes(b"x" * 300), "not a MATLAB file"),
        (lambda root: (root / "data/stimuli").rename(root / "away"), "no folder of stimuli"),
        (lambda root: (root / "data/stimuli/1001.jpg").unlink(), "1001.jpg: image 1001: cannot be read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, spoil: Any, message: str) -> None:
    spoil(osie_root(tmp_path, GAZE))
    with pytest.raises(DataError, match=message):
        Osie(root=str(tmp_path), split=ALL).read("test")


def test_mit1003_has_images_of_different_sizes_and_cuts_fractions_off(tmp_path: Path) -> None:
    sizes = {"b.jpeg": (30, 40), "a.jpeg": (50, 20)}
    paths: Paths = {"b.jpeg": [[(20.9, 15.9), (40.5, 30.5)]], "a.jpeg": [[(10, 25), (20, 50), (21, 1)]]}
    root = str(mit_root(tmp_path, paths, sizes))
    dataset = Mit1003(root=root, split=ALL).read("test")
    assert [file.name for file in dataset.files] == ["a.jpeg", "b.jpeg"]
    assert (dataset.ids.tolist(), dataset.sizes, dataset.dropped) == ([1, 2], ((30, 40), (50, 20)), 1)
    assert of(dataset, 0) == [(24, 9, 0), (49, 19, 0)]
    assert of(dataset, 1) == [(14, 19, 0), (29, 39, 0)]
    later = Mit1003(root=root, split=ALL, first=False).read("test")
    assert [len(later.points(i)) for i in (0, 1)] == [1, 1]


def test_mit1003_as_released_without_fixations_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "ALLSTIMULI").mkdir()
    (tmp_path / "DATA").mkdir()
    with pytest.raises(DataError, match="DATA/ holds raw samples"):
        Mit1003(root=str(tmp_path)).read("test")


def test_cat2000_has_one_observer_and_leaves_drawn_scanpaths_out(tmp_path: Path) -> None:
    first, second = np.zeros((27, 48), np.uint8), np.zeros((27, 48), bool)
    first[3, 4] = first[26, 47] = second[0, 0] = 1
    root = str(cat_root(tmp_path, {"Art/001": first, "Action/001": second}))
    dataset = Cat2000(root=root, split=ALL).read("test")
    assert [file.parent.name for file in dataset.files] == ["Action", "Art"]
    assert (of(dataset, 0), of(dataset, 1)) == ([(0, 0, 0)], [(3, 4, 0), (26, 47, 0)])
    art = Cat2000(root=root, split=ALL, categories=("Art",)).read("test")
    assert art.ids.tolist() == [2]
    with pytest.raises(DataError, match="has no Arts; there are: Action, Art"):
        Cat2000(root=root, categories=("Arts",)).read("test")


def test_cat2000_gaze_of_another_raster_is_refused(tmp_path: Path) -> None:
    root = cat_root(tmp_path, {"Art/001": np.ones((9, 9), np.uint8)})
    cat_root(tmp_path / "other", {"Art/001": np.ones((9, 8), np.uint8)})
    (tmp_path / "other/FIXATIONLOCS/Art/001.mat").replace(root / "FIXATIONLOCS/Art/001.mat")
    with pytest.raises(DataError, match="its gaze is on a raster of"):
        Cat2000(root=str(root), split=ALL).read("test")


@pytest.mark.parametrize("name", ["salicon", "osie", "mit1003", "cat2000", "pysaliency", "demo", "folder"])
def test_every_dataset_says_whom_to_cite_and_its_licence(name: str) -> None:
    source = DATASETS.get(name).source
    assert source is not None
    assert source.citation
    assert source.licence


def test_a_recipe_sets_split_and_observers() -> None:
    given = {"root": "x", "split": {"folds": 5, "fold": 4}, "observers": {"only": [1, "b"]}}
    reader = TypeAdapter(Osie).validate_python(given)
    assert reader.split == Splitting(folds=5, fold=4)
    assert reader.observers is not None
    assert reader.observers.only == (1, "b")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.bool_])
def test_cat2000_s_points_are_found_as_numpy_finds_them(order: Any, dtype: Any) -> None:
    plane = np.asarray(np.random.default_rng(0).random((31, 47)) < 0.1, dtype, order=order)
    for ours, theirs in zip(nonzero(plane), np.nonzero(plane), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(nonzero(np.zeros((3, 4), dtype))[0]) == 0
