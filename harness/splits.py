"""The images of a plan: each split read by its reader, cut to the recipe's limit, and what was left out said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.blame import blaming
from harness.crossing import naming_its_place
from harness.distributed import main_first
from harness.errors import DataError

if TYPE_CHECKING:
    from harness.data.dataset import Dataset, DatasetReader, Split
    from harness.plan import Plan
    from harness.progress import Progress

_SHOWN = 20
"""Skipped images that are named on the terminal; a choice of few observers can leave out thousands."""


def read_splits(plan: Plan, progress: Progress) -> tuple[Dataset, Dataset]:
    """Training and held-out images; raises DataError for an empty split."""
    return read_split(plan, "train", progress), read_split(plan, "test", progress)


def read_split(plan: Plan, split: Split, progress: Progress) -> Dataset:
    """A split, cut to the recipe's limit; raises DataError for an empty one."""
    reader = plan.reader_of(split)
    progress.say(f"reading {reader.label}, {split} split")
    with naming_its_place(plan.recipe, split):
        dataset = main_first(lambda: _read(reader, split, progress))
    _say_left_out(dataset, progress)
    if len(dataset) == 0:
        raise DataError(f"{dataset.name}: the {split} split has no usable image")
    if (most := plan.recipe.most_images(split)) is not None:
        dataset = dataset.take(range(min(most, len(dataset))))
    points = len(dataset.row)
    progress.say(f"{dataset.name} {split}: {len(dataset)} images, {points} {dataset.points_kind} points")
    return dataset


def _read(reader: DatasetReader, split: Split, progress: Progress) -> Dataset:
    with blaming(f"dataset {reader.label}, {split} split", DataError):
        reader.prepare(split, progress)
        return reader.read(split)


def _say_left_out(dataset: Dataset, progress: Progress) -> None:
    for skipped in dataset.skipped[:_SHOWN]:
        progress.say(f"skipped image {skipped.id} ({skipped.file}): {skipped.reason}")
    if (more := len(dataset.skipped) - _SHOWN) > 0:
        progress.say(f"... and {more} more skipped images, all of them in run.json")
    if dataset.dropped:
        every = f"{dataset.dropped} of {dataset.dropped + len(dataset.row)} points"
        progress.say(f"{dataset.name} {dataset.split}: {every} lie outside their image and are left out")
