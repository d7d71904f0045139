"""Lasso and elastic net from the streamed second moments: sparse weights, one channel after the other on the Gram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness import Context, Probe, probe
from harness.flags import UNCONVERGED, flag
from harness.normal_equations import Standardised, solver_bytes
from harness.readout import LinearReadout
from probes._coordinate_descent import descend
from probes._moments import MomentsSettings, MomentsTrainer, sweep_info

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


@probe("elastic-net")
class ElasticNet(MomentsSettings, Probe):
    """Squared error with an L1 and an L2 penalty (Zou & Hastie 2005); l1_ratio 1 is the lasso (Tibshirani 1996)."""

    l1_ratio: float = 0.5
    """The L1 norm's share of the penalty, above 0; 1: the lasso."""
    penalties: tuple[float, ...] = PENALTIES
    """Tried, as shares of the smallest penalty that leaves no weight."""
    sweeps: int = 1000
    """Rounds of coordinate descent a penalty, at most."""
    tolerance: float = 1e-3
    """A penalty is solved when its duality gap is this share of the target's variance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.l1_ratio <= 1:
            raise ValueError(f"l1_ratio must lie above 0 and not above 1, not at {self.l1_ratio} (0 is ridge)")
        if self.sweeps < 1 or self.tolerance <= 0 or min(self.penalties, default=0) <= 0:
            raise ValueError("sweeps, tolerance and every one of penalties must be positive")

    @property
    def label(self) -> str:
        """`lasso`, or the share of its L1 norm."""
        return self.named("lasso" if self.l1_ratio == 1 else f"elastic-net-{self.l1_ratio:g}")

    def trainer(self, context: Context) -> ElasticNetTrainer:
        """A trainer that shares one set of moments with every other such cell of the backbone."""
        return ElasticNetTrainer(self, context)


class ElasticNetTrainer(MomentsTrainer):
    """Walks down the penalties, each from the last one's weights."""

    def __init__(self, settings: ElasticNet, context: Context) -> None:
        super().__init__(settings, context)
        self.settings = settings

    def solving_bytes(self) -> int:
        """The system of all its columns and the library's copy of it."""
        return solver_bytes(self.features, len(self.settings.penalties))

    def readout(self) -> LinearReadout:
        """The weights of the chosen penalty, cut into layers; says how many channels they use."""
        path = Path(self.settings)
        best = self.cross_validated(self.settings.penalties, path)
        parts = torch.split(best.solution.weights[:, 0], self.widths)
        used = {name: int(part.count_nonzero()) for name, part in zip(self.names, parts, strict=True)}
        info: dict[str, Any] = {**sweep_info(best, "penalty", "penalties"), "l1_ratio": self.settings.l1_ratio}
        info |= {"nonzero": used, "nonzero_channels": sum(used.values()), "channels": self.features}
        if path.unfinished:
            words = f"{path.unfinished} fits ended before their tolerance: raise sweeps, or drop the smallest penalties"
            flag(info, UNCONVERGED, words)
        return self.linear(best.solution.weights, best.solution.bias, info)


@dataclass
class Path:
    """The `Solve` of the elastic net; counts the fits that ended before their tolerance."""

    settings: ElasticNet
    unfinished: int = 0

    def __call__(
        self, problem: Standardised, penalties: Sequence[float]
    ) -> tuple[Float[Tensor, "a p 1"], Bool[Tensor, " a"]]:
        """Weights of these penalties; walks the whole grid down to the smallest of them, so each has a warm start."""
        walked = sorted({*penalties, *(p for p in self.settings.penalties if p > min(penalties))}, reverse=True)
        weights = dict(zip(walked, self._walk(problem, walked), strict=True))
        found = torch.stack([weights[penalty] for penalty in penalties])[:, :, None]
        return found.to(problem.r), torch.ones(len(penalties), dtype=torch.bool, device=problem.r.device)

    def _walk(self, problem: Standardised, penalties: Sequence[float]) -> Float[Tensor, "a p"]:
        gram, right = np.ascontiguousarray(problem.C.cpu().numpy()), problem.r[:, 0].cpu().numpy().copy()
        largest = max(np.abs(right).max() / self.settings.l1_ratio, 1e-300)
        weights, unfinished = descend(
            gram,
            right,
            problem.variance.sqrt().cpu().numpy(),
            np.array(penalties) * largest,
            l1_ratio=self.settings.l1_ratio,
            max_iter=self.settings.sweeps,
            tol=self.settings.tolerance,
        )
        self.unfinished += unfinished
        return torch.from_numpy(weights)
