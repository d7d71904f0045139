"""Ridge with a penalty of its own for each group of features (banded ridge), all chosen on held-out statistics.

Minimises |y - b - Xs v|^2 / n + sum_l alpha_l |v_l|^2 on standardised features (Nunez-Elizalde, Huth & Gallant 2019).
With A = C + diag(alpha), A v = r, and E(v) the squared error on a held-out fold,

    dE / d log alpha_l = -alpha_l u_l' v_l        where A u = dE/dv

so one Cholesky factor a fold, p^3 / 3 operations, gives the error and its slope in all penalties at once, and descent
needs a few such steps where a search over ratios needs one for every guess (Dupre la Tour et al. 2022 do the same by
automatic differentiation). It starts at the best common alpha, the best point seen is kept: never worse than ridge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.normal_equations import (
    CrossValidated,
    Gather,
    NormalEquations,
    Solution,
    cross_validate,
    spread,
    standardise,
)

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Step:
    """One point of the search: a penalty a group, and the mean squared error over the held-out folds."""

    alphas: tuple[float, ...]
    cv_error: float
    """NaN where nothing was held out."""


@dataclass(frozen=True, eq=False)
class GroupsCrossValidated:
    """The chosen fit, the common-alpha sweep it started from, and the points it went through."""

    weights: Float[Tensor, "p 1"]
    bias: Float[Tensor, " 1"]
    common: CrossValidated
    path: tuple[Step, ...]

    @property
    def best(self) -> Step:
        """The point that was chosen."""
        return min(self.path, key=lambda step: step.cv_error)


def cross_validate_groups(
    gather: Gather, folds: Sequence[int], alphas: Sequence[float], widths: Sequence[int], steps: int
) -> GroupsCrossValidated:
    """Choose a penalty for each group of adjacent columns, within the range of `alphas`, then fit on all folds.

    Costs the sweep of plain ridge and at most `steps` times a Cholesky factor a fold. With fewer than two folds there
    is nothing to choose by, and the groups share the middle alpha.
    """
    common = cross_validate(gather, folds, alphas)
    start = Step((common.solution.alpha,) * len(widths), min(common.cv_error, default=math.nan))
    if len(folds) < 2:
        return GroupsCrossValidated(common.solution.weights, common.solution.bias, common, (start,))
    search = _Search(gather, folds, widths, [start], steps)
    search.descend((min(alphas), max(alphas)))
    found = GroupsCrossValidated(common.solution.weights, common.solution.bias, common, tuple(search.path))
    if found.best is start:
        return found
    solution = fit_groups(gather(folds), found.best.alphas, widths)
    return GroupsCrossValidated(solution.weights, solution.bias, common, found.path)


def fit_groups(equations: NormalEquations, alphas: Sequence[float], widths: Sequence[int]) -> Solution:
    """The fit with these penalties; raises ValueError where no Cholesky factor exists. Overwrites G."""
    fitted = _Fit(equations, spread(equations.m.new_tensor(alphas), widths))
    if not fitted.exists:
        raise ValueError(f"penalties {alphas} leave the system unsolvable; use larger alphas")
    return Solution(float("nan"), fitted.weights, fitted.bias)


def held_out_slope(
    gather: Gather, folds: Sequence[int], alphas: Sequence[float], widths: Sequence[int]
) -> tuple[float, Float[Tensor, " l"]]:
    """Mean squared error over the held-out folds, and its slope in each group's log alpha; inf where unsolvable."""
    error, slope, n = 0.0, torch.zeros(len(widths), dtype=torch.float64), 0.0
    for fold in folds:
        training = gather([k for k in folds if k != fold])
        penalties = spread(training.m.new_tensor(alphas), widths)
        fitted = _Fit(training, penalties)
        del training
        if not fitted.exists:
            return float("inf"), torch.zeros_like(slope)
        held_out = gather([fold])
        error += held_out.squared_error(fitted.weights[None], fitted.bias[None]).sum().item()
        products = penalties * fitted.standardised[:, 0] * fitted.pulled_back(held_out)
        slope -= torch.stack([part.sum() for part in torch.split(products, list(widths))]).cpu()
        n += held_out.n
    return error / n, slope / n


class _Fit:
    """One solved system; holds the Cholesky factor for more right sides, overwrites the equations' G."""

    def __init__(self, equations: NormalEquations, penalties: Float[Tensor, " p"]) -> None:
        self._problem = standardise(equations)
        self._problem.C.diagonal().add_(penalties)
        self._factor, failed = torch.linalg.cholesky_ex(self._problem.C)
        self.exists = failed.item() == 0
        self.standardised = torch.cholesky_solve(self._problem.r, self._factor)
        self.weights, self.bias = self._problem.in_own_units(self.standardised.clone())

    def pulled_back(self, held_out: NormalEquations) -> Float[Tensor, " p"]:
        """A^-1 dE/dv, with E the squared error on those samples; b = mean y - mean'w moves along."""
        w, b = self.weights, self.bias
        by_weights = 2 * (held_out.G @ w - held_out.c + held_out.m[:, None] * b)
        by_bias = 2 * (held_out.m @ w - held_out.y + held_out.n * b)
        slope = self._problem.scale[:, None] * (by_weights - self._problem.mean[:, None] * by_bias)
        return torch.cholesky_solve(slope, self._factor)[:, 0]


class _Enough(Exception):  # noqa: N818
    """The search has used up its steps; the library's own limit is looked at between line searches only."""


@dataclass
class _Search:
    """Descent over log penalties."""

    gather: Gather
    folds: Sequence[int]
    widths: Sequence[int]
    path: list[Step]
    steps: int
    _scale: float = field(default=0.0, init=False)

    def descend(self, bounds: tuple[float, float]) -> None:
        """L-BFGS within the bounds, at most `steps` points."""
        from scipy.optimize import minimize

        start = np.log(self.path[0].alphas)
        limits = [tuple(np.log(bounds))] * len(start)
        options = {"ftol": 0, "gtol": 1e-2}
        with suppress(_Enough):
            minimize(self._value, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)

    def _value(self, log_alphas: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Error above the start's and its slope, both in units of the first slope: the first step is one e-fold."""
        if len(self.path) > self.steps:
            raise _Enough
        alphas = tuple(np.exp(log_alphas).tolist())
        error, slope = held_out_slope(self.gather, self.folds, alphas, self.widths)
        self.path.append(Step(alphas, error))
        self._scale = self._scale or 1 / max(slope.norm().item(), 1e-300)
        return (error - self.path[0].cv_error) * self._scale, (slope * self._scale).numpy()
