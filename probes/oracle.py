"""Known answers, not a model: maps made from the very gaze they are scored against, to check the scoring itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from torch import Tensor

from harness import Context, Probe, Trainer, probe
from harness.readout import Readout
from harness.types import Batch

Kind = Literal["density", "inverted", "fixations"]


@probe("oracle")
class Oracle(Probe):
    """Not a model: predicts the held-out gaze from itself, so that theory says what every score must be."""

    reads = "gaze"
    peeks = True
    kind: Kind = "density"
    """density: the density itself. inverted: its negative. fixations: the points, unblurred."""

    @property
    def label(self) -> str:
        """Names the kind, and says in every table what it is."""
        return f"oracle-{self.kind} (not a model)"

    def passes(self) -> int:
        """There is nothing to learn."""
        return 0

    def trainer(self, context: Context) -> Trainer:
        """A trainer that never looks."""
        return OracleTrainer(self.kind)


class OracleTrainer(Trainer):
    """Hands the kind on."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def readout(self) -> OracleReadout:
        """The answers."""
        return OracleReadout(self.kind)


class OracleReadout(Readout, kind="oracle"):
    """The ground truth as a prediction; without gaze it has nothing to say."""

    def __init__(self, kind: Kind) -> None:
        self.answers: Kind = kind
        self.info = {"warnings": ["made from the gaze it is scored against: a check of the scoring, not a model"]}

    def __call__(self, batch: Batch) -> Tensor:
        """Maps at the stimulus' own resolution."""
        if self.answers == "fixations":
            return batch.fixations.values.float()
        density = batch.density.values
        return -density if self.answers == "inverted" else density

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Only the kind."""
        return {}, {"kind": self.answers}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        return cls(settings["kind"])
