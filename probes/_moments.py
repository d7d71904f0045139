"""What every probe that fits from the streamed second moments lets a recipe choose; how its trainer begins and ends.

The stream feeds one set of moments for all these cells of a backbone; a trainer only says what it will need and solves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from harness import Context, Trainer, added
from harness.flags import EDGE, flag
from harness.moments import Moments
from harness.normal_equations import CrossValidated, Solve, cross_validate, ridge
from harness.readout import POSITION_TERMS, LinearReadout
from harness.types import LayerSpec

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class MomentsSettings:
    """The fields that say what is fitted to what."""

    target: Literal["density", "standardised"] = "density"
    """What is regressed: the density (mean 1 an image), or the density standardised per image."""
    position: bool = False
    """Add x, y, x^2, y^2, xy as features: a centre bias inside the same equations."""
    link: Literal["identity", "rectified"] = added("identity")
    """What the map goes through; rectified: max(0, z-score)^1.5, which makes the readout a generalised linear one."""

    def named(self, name: str) -> str:
        """The name with the variants that change what is fitted, and the link."""
        extras = [self.target] * (self.target != "density") + ["position"] * self.position
        return "-".join([name, *extras, *([self.link] if self.link != "identity" else [])])

    def columns(self, layers: tuple[LayerSpec, ...]) -> tuple[LayerSpec, ...]:
        """The layers, and the position terms as one more."""
        return (*layers, *([POSITION_TERMS] if self.position else []))


class MomentsTrainer(Trainer):
    """Asks for its blocks at the start, solves at the end; the stream feeds the moments, not this."""

    def __init__(self, settings: MomentsSettings, context: Context) -> None:
        columns = settings.columns(context.layers)
        self.names, self.widths = [c.name for c in columns], [c.channels for c in columns]
        self.link, self.target = settings.link, settings.target
        self.moments = context.shared("moments", lambda: Moments(context.n_folds))
        self.moments.need(columns, settings.target)
        self.gather = partial(self.moments.equations, self.names, settings.target)

    @property
    def features(self) -> int:
        """How many columns the system has."""
        return sum(self.widths)

    def cross_validated(self, candidates: Sequence[float], solve: Solve) -> CrossValidated:
        """The best candidate over the folds that were seen, fitted on all of them."""
        return cross_validate(self.gather, self.moments.folds, candidates, solve)

    def best_ridge(self, alphas: Sequence[float]) -> CrossValidated:
        """The same for ridge; solved once for cells that differ in what is done with it only."""
        asked = (tuple(self.names), self.target, tuple(alphas))
        if asked not in self.moments.ridges:
            self.moments.ridges[asked] = self.cross_validated(alphas, ridge)
        return self.moments.ridges[asked]

    def linear(self, weights: Float[Tensor, "p 1"], bias: Float[Tensor, " 1"], info: dict[str, Any]) -> LinearReadout:
        """The weights cut into layers, before the link."""
        parts = torch.split(weights[:, 0].float(), self.widths)
        return LinearReadout(dict(zip(self.names, parts, strict=True)), bias.item(), link=self.link, info=info)


def sweep_info(best: CrossValidated, parameter: str = "alpha", grid: str = "alphas") -> dict[str, Any]:
    """The sweep as it is saved with a readout; flags a choice at the edge of its grid."""
    info: dict[str, Any] = {
        parameter: best.solution.alpha,
        grid: list(best.alphas),
        "cv_error": [e if e < float("inf") else None for e in best.cv_error],
    }
    if best.at_edge:
        flag(info, EDGE, f"{parameter} {best.solution.alpha:g} is at the edge of its grid")
    return info
