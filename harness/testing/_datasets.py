"""What a dataset's reader must keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np

from harness.data.dataset import DATASETS, Dataset, DatasetReader, Split
from harness.data.images import read_image
from harness.testing._checks import Check, configured, raise_failures, require, run_checks
from harness.testing._documented import require_documented

DECODED = 3
"""Images of each split that are decoded."""


@dataclass
class DatasetCase:
    """A configured reader; its splits are read once."""

    reader: DatasetReader

    @cached_property
    def splits(self) -> dict[Split, Dataset]:
        """Both."""
        return {split: self.reader.read(split) for split in get_args(Split)}


def documented_parameters(case: DatasetCase) -> None:
    """It says what it is and what its parameters do."""
    require_documented(type(case.reader))


def reads_both_splits(case: DatasetCase) -> None:
    """Each is a Dataset that knows its split and has images and gaze."""
    for split, dataset in case.splits.items():
        require(isinstance(dataset, Dataset), f"read({split!r}) returned {type(dataset).__name__}, not a Dataset")
        require(dataset.split == split, f"read({split!r}) returned a dataset that calls itself {dataset.split!r}")
        require(len(dataset) > 0 and len(dataset.row) > 0, f"the {split} split has no image or no gaze")


def columns_fit_together(case: DatasetCase) -> None:
    """One entry an image, offsets that cover all points, unique ids."""
    for split, d in case.splits.items():
        per_image = {"files": len(d.files), "height": len(d.height), "width": len(d.width), "offset": len(d.offset) - 1}
        odd = [name for name, n in per_image.items() if n != len(d)]
        require(not odd, f"{split}: {len(d)} ids, but {odd} is of another length")
        points = {len(d.row), len(d.col), len(d.observer), int(d.offset[-1])}
        ordered = int(d.offset[0]) == 0 and bool((np.diff(d.offset) >= 0).all())
        require(len(points) == 1 and ordered, f"{split}: offset must rise from 0 to the number of points")
        require(len(np.unique(d.ids)) == len(d), f"{split}: two images have one id")
        digests = "image_sha256 must hold one digest an image, or a changed picture is not noticed"
        require(len(d.image_sha256) == len(d), f"{split}: {digests}")


def points_inside_their_images(case: DatasetCase) -> None:
    """0-based rows and columns."""
    for split, d in case.splits.items():
        for index in range(len(d)):
            p, (height, width) = d.points(index), d.size(index)
            inside = ((p.row >= 0) & (p.row < height) & (p.col >= 0) & (p.col < width)).all()
            words = f"{split}: {d.files[index].name} is {height}x{width} and has points outside: 0-based [row, col]?"
            require(bool(inside), words)


def images_of_the_stated_size(case: DatasetCase) -> None:
    """A few are decoded."""
    for d in case.splits.values():
        for index in range(min(DECODED, len(d))):
            pixels = read_image(d.files[index], int(d.ids[index]))
            size = (pixels.shape[1], pixels.shape[2])
            require(size == d.size(index), f"{d.files[index].name} is {size}, the dataset says {d.size(index)}")


def same_data_again(case: DatasetCase) -> None:
    """Reading twice gives the same digest."""
    for split, dataset in case.splits.items():
        again = case.reader.read(split).digest
        require(again == dataset.digest, f"{split}: read twice it differs: sort the files, seed what is drawn")


def no_image_in_both_splits(case: DatasetCase) -> None:
    """Held-out images are not trained on."""
    train, test = (case.splits[split] for split in get_args(Split))
    both = set(train.image_sha256) & set(test.image_sha256)
    names = sorted(f.name for f, sha in zip(test.files, test.image_sha256, strict=False) if sha in both)
    require(not both, f"{len(both)} pictures are in both splits, such as {', '.join(names[:3])}")


DATASET_CHECKS: tuple[Callable[[DatasetCase], None], ...] = (
    documented_parameters,
    reads_both_splits,
    columns_fit_together,
    points_inside_their_images,
    images_of_the_stated_size,
    same_data_again,
    no_image_in_both_splits,
)


def examine_dataset(dataset: str | type[DatasetReader] | DatasetReader, **parameters: Any) -> list[Check]:
    """Every check of a dataset by name, class or configured; its files must be at hand."""
    return run_checks(DatasetCase(configured(DATASETS, dataset, parameters)), DATASET_CHECKS)


def check_dataset(dataset: str | type[DatasetReader] | DatasetReader, **parameters: Any) -> list[Check]:
    """The same; raises ContractError for a dataset that breaks its contract."""
    name = dataset if isinstance(dataset, str) else dataset.name
    return raise_failures("dataset", name, examine_dataset(dataset, **parameters))
