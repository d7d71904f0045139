"""The ceiling: half of the people who saw a picture predict the other half."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from torch import Tensor

from harness import Context, Probe, Trainer, probe
from harness.readout import Readout
from harness.types import Batch, Points


@probe("observers")
class Observers(Probe):
    """Split-half agreement: the blurred points of one half, scored against the other (Wilming et al. 2011)."""

    reads = "gaze"
    bound = "ceiling"
    peeks = True

    def passes(self) -> int:
        """It reads the held-out people only, one half of them."""
        return 0

    def trainer(self, context: Context) -> Trainer:
        """Nothing is trained; the seed fixes the halves."""
        return ObserversTrainer(context.seed)


class ObserversTrainer(Trainer):
    """Hands its seed on."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def readout(self) -> ObserversReadout:
        """The ceiling readout."""
        return ObserversReadout(self.seed)


class ObserversReadout(Readout, kind="observers"):
    """Predicts with the first half of a seeded split of each image's observers; is scored against the second.

    With an odd number of observers the second half has one more; an image with a single observer cannot be scored.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.info = {"split": "half of the observers predict the other half, seeded per image"}

    def __call__(self, batch: Batch) -> Tensor:
        """The blurred points of the first halves, at the stimulus' own resolution."""
        return self._half(batch, 0).density.values

    def scored_against(self, batch: Batch) -> Batch:
        """The second halves."""
        return self._half(batch, 1)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Only the seed."""
        return {}, {"seed": self.seed}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        return cls(settings["seed"])

    def _half(self, batch: Batch, which: int) -> Batch:
        pairs = zip(batch.ids, batch.points, strict=True)
        return batch.with_points(tuple(split_half(p, image, self.seed)[which] for image, p in pairs))


def split_half(points: Points, image: int, seed: int) -> tuple[Points, Points]:
    """Two disjoint groups of an image's observers, n // 2 and the rest; depends on the seed and the image only."""
    digest = hashlib.sha256(f"{seed}/{image}".encode()).digest()
    people = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(np.unique(points.observer))
    half = len(people) // 2
    return points.of(people[:half]), points.of(people[half:])
