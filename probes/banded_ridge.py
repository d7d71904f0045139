"""Banded ridge: one alpha a layer, so that many weak channels need not share the penalty of a few good ones."""

from __future__ import annotations

import math
from typing import Any

from harness import Context, Probe, probe
from harness.flags import EDGE, flag
from harness.group_penalties import GroupsCrossValidated, cross_validate_groups
from harness.normal_equations import solver_bytes
from harness.readout import LinearReadout
from harness.types import LayerSpec
from probes._moments import MomentsSettings, MomentsTrainer, check_alphas
from probes.ridge import ALPHAS

NEAR = 1e-6
"""A chosen penalty is at the edge of the range where it is so near in relative terms."""


@probe("banded-ridge")
class BandedRidge(MomentsSettings, Probe):
    """Ridge with one alpha a layer, chosen on held-out images (Nunez-Elizalde, Huth & Gallant 2019)."""

    alphas: tuple[float, ...] = ALPHAS
    """The common penalties that the search starts from; each layer's own lies within their range."""
    steps: int = 8
    """Points of the search, the first the start with its slope; each a Cholesky factor a fold: 1.5 s a fold for 3904
    channels on one core."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_alphas(self.alphas, zero=False)
        if self.steps < 1:
            raise ValueError(f"steps must be positive, not {self.steps}")

    @property
    def label(self) -> str:
        """Names the variants that change what is fitted."""
        return self.named("banded-ridge")

    def skip(self, layers: tuple[LayerSpec, ...]) -> str | None:
        """One layer has no ratio to choose."""
        return "one layer alone has one penalty: this is ridge" if len(self.columns(layers)) == 1 else None

    def trainer(self, context: Context) -> BandedRidgeTrainer:
        """A trainer that shares one set of moments with every other such cell of the backbone."""
        return BandedRidgeTrainer(self, context)


class BandedRidgeTrainer(MomentsTrainer):
    """Descends from the best common alpha."""

    def __init__(self, settings: BandedRidge, context: Context) -> None:
        super().__init__(settings, context)
        self.settings = settings

    def solving_bytes(self) -> int:
        """The system of all its columns, and a third matrix: the held-out statistics beside system and factor."""
        return solver_bytes(self.features, len(self.settings.alphas)) + 8 * self.features**2

    def readout(self) -> LinearReadout:
        """The weights of the best point of the search, cut into layers."""
        settings, folds = self.settings, self.moments.folds
        found = cross_validate_groups(self.gather, folds, settings.alphas, self.widths, settings.steps)
        return self.linear(found.weights, found.bias, search_info(found, self.names))


def search_info(found: GroupsCrossValidated, names: list[str]) -> dict[str, Any]:
    """The search as it is saved with a readout; flags a penalty at the edge of the range."""
    best, grid = found.best, found.common.alphas
    low, high = min(grid), max(grid)
    chosen = dict(zip(names, best.alphas, strict=True))
    edges = [name for name, alpha in chosen.items() if low < high and not low * (1 + NEAR) < alpha < high / (1 + NEAR)]
    info: dict[str, Any] = {
        "layer_alphas": chosen,
        "layer_cv_error": _known(best.cv_error),
        "common_alpha": found.common.solution.alpha,
        "common_cv_error": min(found.common.cv_error, default=None),
        "search": [{"alphas": list(step.alphas), "cv_error": _known(step.cv_error)} for step in found.path],
    }
    for name in edges:
        flag(info, EDGE, f"{name}: alpha {chosen[name]:g} is at the edge of its range")
    return info


def _known(error: float) -> float | None:
    return error if math.isfinite(error) else None
