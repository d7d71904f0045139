"""The whole matrix over the forward pass alone, on the same images, in the same process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.forward import Forward, measure_forward
from tests.benchmarks.workload import RIDGE, Job, Measured, measure, plan_for, sgd, warm_up

WITH_SGD = (*RIDGE, sgd("mse", "kl"))
WHAT = (
    "The whole run (6 layer sets of ResNet-50, ridge with 9 alphas x 5 folds, centre, uniform, observers{}; training, "
    "calibration, scoring with the 8 default metrics, intervals, paired tests, files) over decoding, preprocessing and "
    "the network alone on the same images, each once, in a bare loop of batches of the same size, warm, one thread "
    "beside one process that decodes."
)
PROBES = {"ridge": RIDGE, "sgd": WITH_SGD}
NOTES = {"ridge": WHAT.format(""), "sgd": WHAT.format(", and SGD with 2 losses x 5 epochs on every layer set")}


@dataclass
class Ratio:
    """A matrix and the forward pass on its images."""

    matrix: Measured
    forward: Forward

    @property
    def value(self) -> float:
        """Matrix over forward pass."""
        return self.matrix.seconds / self.forward.bare

    def details(self) -> dict[str, Any]:
        """As it is published."""
        return {
            "ratio": self.value,
            **self.matrix.details(),
            "forward alone": self.forward.details(self.matrix.seconds),
        }


@dataclass
class Ratios:
    """Measures ratios; a forward pass is measured once for all matrices on it."""

    job: Job
    forwards: dict[tuple[str, float], Forward] = field(default_factory=dict)

    def measure(self, probes: tuple[Any, ...], precision: str, scale: float = 1.0) -> Ratio:
        """Warm up, then the forward pass (if it is not known yet), then the matrix."""
        settings: dict[str, Any] = {"precision": precision, "input": {"scale": scale}}
        warm_up(self.job, probes, **settings)
        plan = plan_for(self.job, probes, **settings)
        if (precision, scale) not in self.forwards:
            self.forwards[precision, scale] = measure_forward(plan)
        return Ratio(measure(plan), self.forwards[precision, scale])
