"""The ceiling: how well the people who saw a picture predict each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor

from harness import Context, Probe, Trainer, added, probe
from harness.readout import Readout
from harness.rounds import Round
from harness.types import Batch, Points


@probe("observers")
class Observers(Probe):
    """Agreement of the people: the blurred points of some, scored against the others' (Wilming et al. 2011)."""

    reads = "gaze"
    bound = "ceiling"
    peeks = True

    method: Literal["split-half", "leave-one-out", "spearman-brown"] = added("split-half")
    """split-half: one half of an image's people predicts the other. leave-one-out: the others predict each person, the
    mean over persons; a person's gaze is little to be scored against, so that cc and sim are low. spearman-brown: the
    split-half correlation as it would be of groups as large as all people, 2r / (1 + r) an image; cc alone has it."""

    @property
    def label(self) -> str:
        """What it is, where that is not the usual split-half."""
        return self.name if self.method == "split-half" else f"{self.name}-{self.method}"

    @property
    def revision(self) -> int:
        """2: maps are scaled, their densities no longer depend on how many points there are."""
        return 2

    @property
    def stands_in(self) -> bool:
        """The explainable range ends at split-half where a recipe has it."""
        return self.method != "split-half"

    def passes(self) -> int:
        """It reads the held-out people only."""
        return 0

    def trainer(self, context: Context) -> Trainer:
        """Nothing is trained; the seed fixes the halves."""
        readouts = {"leave-one-out": LeaveOneOutReadout, "spearman-brown": SpearmanBrownReadout}
        kind = readouts.get(self.method, ObserversReadout)
        return ObserversTrainer(kind(context.seed))


class ObserversTrainer(Trainer):
    """Hands the readout on."""

    def __init__(self, made: ObserversReadout) -> None:
        self.made = made

    def readout(self) -> ObserversReadout:
        """The ceiling readout."""
        return self.made


class ObserversReadout(Readout, kind="observers"):
    """Predicts with the first half of a seeded split of each image's observers; is scored against the second.

    With an odd number of observers the second half has one more; an image with a single observer cannot be scored.
    """

    unscorable = "fewer than two observers"
    words = "half of the observers predict the other half, seeded per image"

    def __init__(self, seed: int, *, scaled: bool = True) -> None:
        self.seed, self.scaled = seed, scaled
        self.info = {"split": self.words}

    def __call__(self, batch: Batch) -> Tensor:
        """The blurred points of those who predict, at the stimulus' own resolution; `scaled` to mean 1 an image.

        How many points there are is then no matter to the density that is made of them: eye trackers record few.
        """
        return self.maps_of(self._part(batch, 0))

    def maps_of(self, predicting: Batch) -> Tensor:
        """What the gaze of those who predict looks like."""
        density = predicting.density.values
        return density / density.mean((1, 2), keepdim=True).clamp(min=1e-12) if self.scaled else density

    def scored_against(self, batch: Batch) -> Batch:
        """The gaze of those who are predicted."""
        return self._part(batch, 1)

    def rounds(self, batch: Batch) -> Iterator[Round]:
        """The images with two observers and more."""
        if images := _with_more_people(batch, 1):
            yield Round(images, self(images), self.scored_against(images))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Only the seed, and whether maps are scaled, as they always are now."""
        return {}, {"seed": self.seed, "scaled": self.scaled}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """The inverse of `state`; what was written before maps could be scaled has no word of it."""
        return cls(settings["seed"], scaled=settings.get("scaled", False))

    def parted(self, points: Points, image: int) -> tuple[Points, Points]:
        """(those who predict, those who are predicted) of an image."""
        return split_half(points, image, self.seed)

    def _part(self, batch: Batch, which: int) -> Batch:
        pairs = zip(batch.ids, batch.points, strict=True)
        return batch.with_points(tuple(self.parted(points, image)[which] for image, points in pairs))


class SpearmanBrownReadout(ObserversReadout, kind="observers-spearman-brown"):
    """Split halves, their correlation corrected for being halves (Spearman 1910, Brown 1910); no other metric is."""

    words = "half of the observers predict the other half, seeded per image; the correlation corrected to all of them"

    def corrected(self, metric: str, score: float) -> float | str:
        """2r / (1 + r); a negative r is mirrored, 2r / (1 + |r|), so that it stays a correlation."""
        return 2 * score / (1 + abs(score)) if metric == "cc" else "Spearman-Brown corrects a correlation only"


class LeaveOneOutReadout(ObserversReadout, kind="observers-leave-one-out"):
    """Every observer of an image is predicted by all others; an image's score is the mean over its observers.

    Outside the scoring (calibration, pictures) one observer is left out, by seed.
    """

    words = "each observer is predicted by the others, the mean over observers"

    def rounds(self, batch: Batch) -> Iterator[Round]:
        """One a person: the first of every image, the second, ..."""
        place = 0
        while images := _with_more_people(batch, max(place, 1)):
            pairs = [left_out(points, np.unique(points.observer)[place]) for points in images.points]
            others, person = (images.with_points(tuple(part)) for part in zip(*pairs, strict=True))
            yield Round(images, self.maps_of(others), person)
            place += 1

    def parted(self, points: Points, image: int) -> tuple[Points, Points]:
        """(the others, a person chosen by the seed)."""
        return left_out(points, _shuffled(points, image, self.seed)[0])


def split_half(points: Points, image: int, seed: int) -> tuple[Points, Points]:
    """Two disjoint groups of an image's observers, n // 2 and the rest; depends on the seed and the image only."""
    people = _shuffled(points, image, seed)
    half = len(people) // 2
    return points.of(people[:half]), points.of(people[half:])


def left_out(points: Points, person: np.int32) -> tuple[Points, Points]:
    """(all others' points, that person's)."""
    people = np.unique(points.observer)
    return points.of(people[people != person]), points.of(people[people == person])


def _shuffled(points: Points, image: int, seed: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """An image's observers in an order that depends on the seed and the image only."""
    digest = hashlib.sha256(f"{seed}/{image}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(np.unique(points.observer))


def _with_more_people(batch: Batch, n: int) -> Batch | None:
    """Those images of the batch that more than `n` people looked at; None where there are none."""
    rows = [row for row, points in enumerate(batch.points) if len(np.unique(points.observer)) > n]
    if len(rows) == len(batch):
        return batch
    return batch.take(rows) if rows else None
