from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from harness.data._splitting import Splitting
from harness.data.salicon import Salicon
from harness.errors import DataError
from harness.folds import by_fold
from harness.recipe import parse_recipe
from tests.harness.data.roots import annotation, image, write_root


def names(n: int) -> tuple[list[int], list[str]]:
    return list(range(1, n + 1)), [f"a/{i}.jpg" for i in range(1, n + 1)]


@given(st.integers(0, 60), st.floats(0, 1), st.integers(0, 5))
def test_a_share_is_that_share_and_the_seed_alone_decides_which(n: int, share: float, seed: int) -> None:
    held = Splitting(test=share, seed=seed).held_out(*names(n), Path())
    assert held.sum() == round(share * n)
    assert np.array_equal(held, Splitting(test=share, seed=seed).held_out(*names(n), Path()))
    assert held.tolist() == [i in set(np.random.default_rng(seed).permutation(n)[n - held.sum() :]) for i in range(n)]


@given(st.integers(2, 40), st.integers(2, 9), st.integers(0, 5))
def test_every_image_is_held_out_in_one_fold_and_folds_are_of_equal_size(n: int, folds: int, seed: int) -> None:
    if folds > n:
        with pytest.raises(DataError, match="folds of"):
            Splitting(folds=folds, seed=seed).held_out(*names(n), Path())
        return
    held = np.stack([Splitting(folds=folds, fold=k, seed=seed).held_out(*names(n), Path()) for k in range(folds)])
    assert np.array_equal(held.sum(0), np.ones(n))
    assert np.ptp(held.sum(1)) <= 1


def test_a_number_of_images(tmp_path: Path) -> None:
    assert Splitting(test=3).held_out(*names(10), tmp_path).sum() == 3
    with pytest.raises(DataError, match="11 of 10 images cannot be held out"):
        Splitting(test=11).held_out(*names(10), tmp_path)


def test_a_list_names_images_in_any_of_their_spellings(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("# held out\na/1.jpg\n2.jpg\n\n3\n")
    held = Splitting(file="val.txt").held_out(*names(5), tmp_path)
    assert held.tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("line", "message"), [("9.jpg", "'9.jpg' is no image of the dataset"), ("1.jpg", "'1.jpg' could be several images")]
)
def test_a_list_with_a_name_that_is_none_or_several(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "val.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        Splitting(file="val.txt").held_out([11, 12], ["a/1.jpg", "b/1.jpg"], tmp_path)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset.split.file: there is neither"):
        Splitting(file="no.txt").held_out(*names(2), tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"test": 1.5},
        {"test": -1},
        {"folds": 1},
        {"folds": 3, "fold": 3},
        {"fold": 1},
        {"folds": 2, "file": "x"},
        {"seed": -1},
        {"share": 0.1},
    ],
)
def test_what_cannot_be_is_refused_with_the_recipe(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Splitting).validate_python(wrong)


def salicon(root: Path, **parameters: Any) -> Salicon:
    asked = {"root": str(root), "edition": "custom", "points": "eye", **parameters}
    made: Salicon = TypeAdapter(Salicon).validate_python(asked)
    return made


def test_the_training_file_of_a_salicon_layout_is_cut_and_its_test_file_left_alone(tmp_path: Path) -> None:
    images = [image(i) for i in range(1, 8)]
    document = {"images": images, "annotations": [annotation(i, i, [[i, i], [i, 20]]) for i in range(1, 8)]}
    write_root(tmp_path, document)
    whole = salicon(tmp_path).read("train")
    parts = [salicon(tmp_path, split={"folds": 3, "fold": k}) for k in range(3)]
    held = [part.read("test") for part in parts]
    assert sorted(id for part in held for id in part.ids.tolist()) == whole.ids.tolist()
    for part, test in zip(parts, held, strict=True):
        train = part.read("train")
        assert sorted([*train.ids.tolist(), *test.ids.tolist()]) == whole.ids.tolist()
        assert (train.split, test.split) == ("train", "test")
        for i, id in enumerate(test.ids.tolist()):
            assert test.points(i).row.tolist() == whole.points(whole.ids.tolist().index(id)).row.tolist()
    with pytest.raises(DataError, match="leaves no image of 7 for the test split"):
        salicon(tmp_path, split={"test": 0}).read("test")


def test_a_recipe_runs_every_fold_of_a_salicon_layout(tmp_path: Path) -> None:
    split = {"folds": 3, "fold": "all"}
    dataset = {"reader": "salicon", "root": str(tmp_path), "edition": "custom", "points": "eye", "split": split}
    recipe = {"name": "r", "dataset": dataset, "backbones": ["resnet50"], "layers": ["layer1"], "probes": ["ridge"]}
    made = by_fold(parse_recipe(recipe))
    assert [one.dataset.parameters["split"]["fold"] for one in made.values()] == [0, 1, 2]
