"""Trained on one dataset, tested on another: what tables call it, and what a reader of the scores must know of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from harness.errors import DataError

if TYPE_CHECKING:
    from harness.data.dataset import Dataset, DatasetReader, Split
    from harness.recipe import Recipe

_UNTOLD = ("root", "title")
"""Parameters that say where a dataset is or what it is called, not what it is."""
_LONGEST = 30
_PLACE = re.compile(r"(?<![\w./\\-])dataset\.")
"""A recipe's key in an error, not part of a file's name."""


def data_label(recipe: Recipe, reader: DatasetReader, test_reader: DatasetReader) -> str:
    """The dataset's name in tables, or "trained on -> tested on"; equal names are told apart by what differs first."""
    if not recipe.crosses:
        return reader.label
    one, other = reader.label, test_reader.label
    if one == other and (name := _first_difference(reader, test_reader)):
        one = f"{one}[{name}={_words(recipe.dataset.parameters, reader, name)}]"
        other = f"{other}[{name}={_words(recipe.held_out.parameters, test_reader, name)}]"
    return f"{one} -> {other}"


@contextmanager
def naming_its_place(recipe: Recipe, split: Split) -> Iterator[None]:
    """Errors of a reader speak of `dataset.root`; of the dataset that is only tested on it is `test_dataset.root`."""
    try:
        yield
    except DataError as error:
        if split == "train" or not recipe.crosses:
            raise
        raise DataError(_PLACE.sub("test_dataset.", str(error))) from error


def shared_images(train: Dataset, test: Dataset) -> int:
    """How many held-out images are training images, too, byte for byte."""
    known = set(train.image_sha256)
    return sum(digest in known for digest in test.image_sha256)


def trained_elsewhere(train: Dataset, test: Dataset) -> dict[str, Any]:
    """The training images' dataset, as it is recorded beside that of the held-out ones where the two differ."""
    return {"trained_on": facts(train)} if facts(train) != facts(test) else {}


def facts(dataset: Dataset) -> dict[str, Any]:
    """What a dataset is, in a few words."""
    return {
        "name": dataset.name,
        "edition": dataset.edition,
        "points": dataset.points_kind,
        "synthetic": dataset.synthetic,
    }


def _first_difference(one: DatasetReader, other: DatasetReader) -> str | None:
    if type(one) is not type(other):
        return "name"
    names = [field.name for field in fields(one) if field.name not in _UNTOLD]  # type: ignore[arg-type]
    return next((name for name in names if getattr(one, name) != getattr(other, name)), None)


def _words(parameters: dict[str, Any], reader: DatasetReader, name: str) -> str:
    """A parameter as the recipe has it."""
    text = str(parameters.get(name, getattr(reader, name)))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
