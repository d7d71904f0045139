"""The centre-bias baseline: the mean training density, whatever the picture shows."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from torch import Tensor

from harness import Context, Probe, Trainer, probe
from harness.readout import MapReadout
from harness.types import Batch


@probe("centre")
class Centre(Probe):
    """The mean density of the training images, in relative coordinates (Tatler 2007: people look at the middle)."""

    reads = "gaze"
    bound = "floor"
    raster: tuple[int, int] = (120, 160)
    """Rows and columns the mean is kept on; fine enough for a blur of 19 px on 480 rows."""

    def trainer(self, context: Context) -> Trainer:
        """A running sum."""
        return CentreTrainer(self.raster)


class CentreTrainer(Trainer):
    """Every image weighs the same, however many points it has."""

    def __init__(self, raster: tuple[int, int]) -> None:
        self.raster = raster
        self._sums: dict[str, Tensor] = {}

    def update(self, batch: Batch) -> None:
        """Add the batch's densities."""
        added = batch.target(self.raster).double().sum(0)
        self._sums["density"] = self._sums["density"] + added if self._sums else added

    def sums(self) -> Sequence[MutableMapping[Any, Tensor]]:
        """The sum of the densities."""
        return (self._sums,)

    def readout(self) -> MapReadout:
        """The mean, scaled to mean 1."""
        if not self._sums:
            raise ValueError("no training image was seen")
        total = self._sums["density"]
        return MapReadout((total / total.mean()).float())
