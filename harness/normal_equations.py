"""The algebra of ridge from sufficient statistics: standardise, solve for every alpha, score on held-out statistics.

With samples x (p features) and targets y (t of them), everything follows from G = sum x x', c = sum x y', m = sum x,
sum y, sum y^2 and n. Statistics add and subtract, so those of "all folds but k" are a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Sufficient statistics of a least-squares problem; float64."""

    G: Float[Tensor, "p p"]
    c: Float[Tensor, "p t"]
    m: Float[Tensor, " p"]
    y: Float[Tensor, " t"]
    yy: Float[Tensor, " t"]
    n: float

    def __add__(self, other: NormalEquations) -> NormalEquations:
        return self._combined(other, 1)

    def __sub__(self, other: NormalEquations) -> NormalEquations:
        return self._combined(other, -1)

    def _combined(self, other: NormalEquations, sign: int) -> NormalEquations:
        return NormalEquations(
            G=self.G + sign * other.G,
            c=self.c + sign * other.c,
            m=self.m + sign * other.m,
            y=self.y + sign * other.y,
            yy=self.yy + sign * other.yy,
            n=self.n + sign * other.n,
        )

    def squared_error(self, weights: Float[Tensor, "p t"], bias: Float[Tensor, " t"]) -> Float[Tensor, " t"]:
        """sum (y - bias - x'w)^2 over these samples, without the samples."""
        quadratic = (weights * (self.G @ weights)).sum(0)
        linear = (weights * self.c).sum(0)
        crossed = bias * (self.m @ weights)
        return self.yy - 2 * linear + quadratic + 2 * crossed - 2 * bias * self.y + self.n * bias**2


@dataclass(frozen=True, eq=False)
class RidgeSolution:
    """Weights in the features' own units, so that y is about bias + x'w."""

    alpha: float
    weights: Float[Tensor, "p t"]
    bias: Float[Tensor, " t"]


def ridge_path(equations: NormalEquations, alphas: Sequence[float]) -> list[RidgeSolution | None]:
    """Ridge on standardised features with an unpenalised intercept, one solution per alpha.

    Minimises |y - b - Xs v|^2 / n + alpha |v|^2, i.e. scikit-learn's Ridge(alpha * n) after StandardScaler (Hoerl &
    Kennard 1970). A dead feature gets weight 0; None where alpha is too small for a Cholesky factor to exist.
    """
    n = equations.n
    mean, target_mean = equations.m / n, equations.y / n
    variance = equations.G.diagonal() / n - mean**2
    # below the rounding of the second moment there is no variance to speak of
    alive = variance > 1e-10 * equations.G.diagonal().abs() / n + 1e-300
    scale = torch.where(alive, variance.clamp(min=1e-300).rsqrt(), 0.0)
    correlation = (equations.G / n).addr_(mean, mean, alpha=-1.0)
    correlation *= scale[:, None]
    correlation *= scale[None, :]
    right = scale[:, None] * (equations.c / n - mean[:, None] * target_mean[None, :])
    diagonal = correlation.diagonal()
    exact = diagonal.clone()
    solutions: list[RidgeSolution | None] = []
    for alpha in alphas:
        diagonal.copy_(exact + alpha)
        factor, failed = torch.linalg.cholesky_ex(correlation)
        if failed.item():
            solutions.append(None)
            continue
        weights = scale[:, None] * torch.cholesky_solve(right, factor)
        solutions.append(RidgeSolution(alpha, weights, target_mean - mean @ weights))
    return solutions


def _held_out_errors(
    folds: Sequence[NormalEquations], total: NormalEquations, alphas: Sequence[float]
) -> Float[Tensor, " a"]:
    errors = torch.zeros(len(alphas), dtype=torch.float64)
    for fold in folds:
        for index, solution in enumerate(ridge_path(total - fold, alphas)):
            if solution is None:
                errors[index] = torch.inf
            else:
                errors[index] += fold.squared_error(solution.weights, solution.bias).sum().item()
    return errors


def _distance_from_middle(alphas: Sequence[float]) -> Float[Tensor, " a"]:
    order = torch.tensor(alphas, dtype=torch.float64).log()
    return (order - order.median()).abs()


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """The chosen solution and the whole sweep behind it."""

    solution: RidgeSolution
    alphas: tuple[float, ...]
    cv_error: tuple[float, ...]
    """Mean squared error over the held-out folds per alpha; inf where some fold could not be solved."""

    @property
    def at_edge(self) -> bool:
        """The best alpha is the first or last of its grid: the optimum may lie outside."""
        return len(self.alphas) > 1 and self.solution.alpha in (min(self.alphas), max(self.alphas))


def cross_validate(folds: Sequence[NormalEquations], alphas: Sequence[float]) -> CrossValidated:
    """Choose alpha by k-fold cross-validation over the given statistics, then fit on all of them.

    Folds without samples are passed over; with fewer than two the middle alpha is taken, as there is nothing to
    choose by. Raises ValueError where no alpha can be solved.
    """
    folds = [fold for fold in folds if fold.n > 0]
    total = folds[0]
    for fold in folds[1:]:
        total = total + fold
    errors = _held_out_errors(folds, total, alphas) if len(folds) > 1 else _distance_from_middle(alphas)
    for index in errors.argsort().tolist():
        (solution,) = ridge_path(total, [alphas[index]])
        if solution is not None:
            n_values = total.n * total.y.numel()
            return CrossValidated(solution, tuple(alphas), tuple((errors / n_values).tolist()))
    raise ValueError("no alpha of the grid gives a solvable system; use larger alphas")
