"""The chance baseline: no preference anywhere."""

from __future__ import annotations

import torch

from harness import Context, Probe, Trainer, probe
from harness.readout import MapReadout


@probe("uniform")
class Uniform(Probe):
    """A constant map: CC 0, AUC one half, NSS 0 by definition."""

    reads = "gaze"

    def passes(self) -> int:
        """There is nothing to learn."""
        return 0

    def trainer(self, context: Context) -> Trainer:
        """A trainer that never looks."""
        return UniformTrainer()


class UniformTrainer(Trainer):
    """Looks at nothing."""

    def readout(self) -> MapReadout:
        """One value everywhere."""
        return MapReadout(torch.ones(1, 1))
