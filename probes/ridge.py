"""Ridge in closed form from the streamed second moments; alpha by cross-validation over whole images."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch

from harness import Context, Probe, Trainer, probe
from harness.moments import Moments
from harness.normal_equations import CrossValidated, cross_validate, solver_bytes
from harness.readout import POSITION_TERMS, LinearReadout

ALPHAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


@probe("ridge")
class Ridge(Probe):
    """A linear readout per position, fitted in closed form (Hoerl & Kennard 1970)."""

    alphas: tuple[float, ...] = ALPHAS
    """Penalties tried, in units of the number of samples, on standardised features."""
    target: Literal["density", "standardised"] = "density"
    """What is regressed: the density (mean 1 an image), or the density standardised per image."""
    position: bool = False
    """Add x, y, x^2, y^2, xy as features: a centre bias inside the same equations."""

    @property
    def label(self) -> str:
        """Names the variants that change what is fitted."""
        extras = [self.target] * (self.target != "density") + ["position"] * self.position
        return "-".join(["ridge", *extras])

    def trainer(self, context: Context) -> Trainer:
        """A trainer that shares one set of moments with every other ridge cell of the backbone."""
        return RidgeTrainer(self, context)


class RidgeTrainer(Trainer):
    """Asks for its blocks at the start, solves at the end; the stream feeds the moments, not this."""

    def __init__(self, settings: Ridge, context: Context) -> None:
        self.settings, self.context = settings, context
        self.columns = (*context.layers, *([POSITION_TERMS] if settings.position else []))
        self.moments = context.shared("moments", lambda: Moments(context.n_folds))
        self.moments.need(self.columns, settings.target)

    def solving_bytes(self) -> int:
        """The system of all its columns."""
        return solver_bytes(sum(column.channels for column in self.columns), len(self.settings.alphas))

    def readout(self) -> LinearReadout:
        """The weights of the chosen alpha, cut into layers."""
        names = [column.name for column in self.columns]
        gather = partial(self.moments.equations, names, self.settings.target)
        best = cross_validate(gather, self.moments.folds, self.settings.alphas)
        parts = torch.split(best.solution.weights[:, 0].float(), [column.channels for column in self.columns])
        return LinearReadout(dict(zip(names, parts, strict=True)), best.solution.bias.item(), info=sweep_info(best))


def sweep_info(best: CrossValidated) -> dict[str, Any]:
    """The alpha sweep as it is saved with a readout; flags an alpha at the edge of its grid."""
    info: dict[str, Any] = {
        "alpha": best.solution.alpha,
        "alphas": list(best.alphas),
        "cv_error": [e if e < float("inf") else None for e in best.cv_error],
    }
    if best.at_edge:
        info["warnings"] = [f"alpha {best.solution.alpha:g} is at the edge of its grid"]
    return info
