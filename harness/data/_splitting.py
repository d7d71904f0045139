"""Which images are held out, for datasets that do not say it themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.errors import DataError
from harness.paths import expanded

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """Held out are a seeded share of the images, or those that a file lists, or one of several folds.

    Shares and folds are cut from one seeded order of the images by id: `numpy.random.default_rng(seed).permutation`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    test: float | int = 0.2
    """The share of the images that is held out (0.2; 1.0 is all of them), or how many (200)."""
    seed: int = 0
    file: str | None = None
    """A text file that lists the held-out images, a name or id a line; relative to the dataset or to where one is."""
    folds: int | None = None
    """Into so many folds of (nearly) equal size; every image is held out in exactly one of them."""
    fold: int = 0
    """Which of the folds is held out, from 0; in the recipe of a run also a list of them or `all`: a run for each, and
    all together."""

    def __post_init__(self) -> None:
        """Refuse what cannot be; raises ValueError."""
        if self.test < 0 or (isinstance(self.test, float) and self.test > 1):
            raise ValueError("test must be a share from 0.0 to 1.0, or a number of images")
        if self.seed < 0:
            raise ValueError("seed must be at least 0")
        if self.folds is not None and not (self.folds >= 2 and 0 <= self.fold < self.folds):
            raise ValueError("folds must be at least 2, and fold one of 0 .. folds - 1")
        if self.folds is None and self.fold:
            raise ValueError("fold chooses one of several: say how many with folds")
        if self.folds is not None and self.file is not None:
            raise ValueError("choose one: the list of a file, or folds")

    def held_out(self, ids: Sequence[int], names: Sequence[str], root: Path) -> NDArray[np.bool_]:
        """Whether each image is held out; images are given by ascending id. Raises DataError for what does not fit."""
        if self.file is not None:
            return _listed(_existing_list(root, self.file), ids, names)
        held = np.zeros(len(ids), np.bool_)
        order = np.random.default_rng(self.seed).permutation(len(ids))
        if self.folds is not None:
            if self.folds > len(ids):
                raise DataError(f"{root}: {self.folds} folds of {len(ids)} images: set dataset.split.folds lower")
            held[np.array_split(order, self.folds)[self.fold]] = True
            return held
        count = self.test if isinstance(self.test, int) else round(self.test * len(ids))
        if count > len(ids):
            raise DataError(f"{root}: {count} of {len(ids)} images cannot be held out: set dataset.split.test lower")
        held[order[len(ids) - count :]] = True
        return held


def _existing_list(root: Path, name: str) -> Path:
    places = (root / expanded(name), expanded(name).absolute())
    for place in places:
        if place.is_file():
            return place
    raise DataError(f"dataset.split.file: there is neither {places[0]} nor {places[1]}")


def _listed(file: Path, ids: Sequence[int], names: Sequence[str]) -> NDArray[np.bool_]:
    """A line may be an image's name as the dataset has it, its last part, that without its ending, or its id."""
    known: dict[str, set[int]] = {}
    for index, (id, name) in enumerate(zip(ids, names, strict=True)):
        path = PurePosixPath(name)
        for spelling in {name, path.name, path.stem, str(id)}:
            known.setdefault(spelling, set()).add(index)
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as a list of images: {error}") from error
    wanted = [line for line in lines if line and not line.startswith("#")]
    for line in wanted:
        if len(known.get(line, ())) != 1:
            what = "is no image of the dataset" if line not in known else "could be several images"
            raise DataError(f"{file}: {line!r} {what}; its images are called like {names[0]!r}")
    held = np.zeros(len(ids), np.bool_)
    held[[index for line in wanted for index in known[line]]] = True
    return held
