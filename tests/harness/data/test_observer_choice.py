from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from harness.data._observer_choice import ObserverChoice, only_chosen
from harness.data.dataset import Dataset
from harness.data.demo import Demo
from harness.data.salicon import Salicon
from harness.errors import DataError
from tests.harness.data.roots import two_images, write_root


def made(people: list[list[int]], labels: tuple[int | str, ...]) -> Dataset:
    """An image for each list, a point for each person in it."""
    flat = np.array([who for image in people for who in sorted(image)], np.int32)
    n = len(people)
    return Dataset(
        name="made",
        split="test",
        edition="custom",
        points_kind="eye",
        ids=np.arange(n, dtype=np.int64),
        files=tuple(Path(f"{i}.jpg") for i in range(n)),
        height=np.full(n, 99, np.int32),
        width=np.full(n, 99, np.int32),
        offset=np.cumsum([0, *map(len, people)]).astype(np.int64),
        row=np.arange(len(flat), dtype=np.int32),
        col=flat,
        observer=flat,
        observer_labels=labels,
        image_sha256=tuple(map(str, range(n))),
    )


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=6),
    st.sets(st.integers(0, 4), min_size=1, max_size=4),
)
def test_only_and_without_are_a_filter_of_the_points(people: list[list[int]], chosen: set[int]) -> None:
    dataset, labels = made(people, ("a", "b", "c", "d", "e")), "abcde"
    only = ObserverChoice(only=tuple(labels[c] for c in chosen))
    rest = ObserverChoice(without=tuple(labels[c] for c in range(5) if c not in chosen))
    expected = {i: [p for p in sorted(image) if p in chosen] for i, image in enumerate(people)}
    if not any(expected.values()):
        with pytest.raises(DataError, match="none of the chosen observers"):
            only_chosen(dataset, only)
        return
    found = only_chosen(dataset, only)
    assert found.ids.tolist() == [i for i, points in expected.items() if points]
    assert [found.points(n).observer.tolist() for n in range(len(found))] == [p for p in expected.values() if p]
    assert [s.id for s in found.skipped] == [i for i, points in expected.items() if not points]
    assert only_chosen(dataset, rest).digest == found.digest


def test_by_number_counts_from_one() -> None:
    dataset = made([[0, 1, 2]], ("x", 7, "y"))
    assert only_chosen(dataset, ObserverChoice(only=(2,), by="number")).observer.tolist() == [1]
    assert only_chosen(dataset, ObserverChoice(only=("7",))).observer.tolist() == [1]
    with pytest.raises(DataError, match=r"nobody is called 'z' \(by label\); there are: x, 7, y"):
        only_chosen(dataset, ObserverChoice(without=("z",)))


@pytest.mark.parametrize("wrong", [{}, {"only": [1], "without": [2]}, {"first": 2}])
def test_a_choice_must_choose(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ObserverChoice).validate_python(wrong)


def test_salicon_chooses_by_worker_id(tmp_path: Path) -> None:
    write_root(tmp_path, two_images())
    reader = Salicon(root=str(tmp_path), edition="custom", points="mouse", observers=ObserverChoice(only=(70,)))
    dataset = reader.read("train")
    assert (dataset.ids.tolist(), dataset.observer.tolist(), dataset.observer_labels) == ([5], [1, 1, 1], (9, 70))
    assert [s.id for s in dataset.skipped] == [3]


def test_demo_draws_the_same_scenes_whoever_is_chosen() -> None:
    few = Demo(train=1, test=1, height=64, width=64, observers=ObserverChoice(only=(3,))).read("test")
    every = Demo(train=1, test=1, height=64, width=64).read("test")
    assert few.files == every.files
    assert np.array_equal(few.row, every.row[every.observer == 2])
