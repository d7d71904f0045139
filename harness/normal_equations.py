"""The algebra of linear fits from sufficient statistics: standardise, solve, score on held-out statistics.

With samples x (p features) and targets y (t of them), everything follows from G = sum x x', c = sum x y', m = sum x,
sum y, sum y^2 and n. Statistics add, so those of all folds but one are a sum. What is solved is a `Solve`: ridge for
many alphas here, other regularisations in the files of their probes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness._band import WIDTH, band, square

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

BAND_FEATURES, BAND_ALPHAS = 256, 5
"""From so many on, reducing to a band (on a CPU as dear as three to five Cholesky factors) beats one for each alpha."""
DEAD = 5e-6
"""A feature whose variance is a smaller share of its second moment is constant: float32 products of a constant leave up
to 1.5e-6 (measured), which standardising would blow up to a feature of noise."""
FLOOR = 0.01
"""Of a layer's root mean square standard deviation: what a feature is divided by at least. One that hardly ever
responds would be blown up until its responses in other images are thousands of standard deviations."""
UNSOLVABLE = "no alpha of the grid gives a solvable system; use larger alphas"
ROWS = 64
"""Rows of a matrix that are worked on together while they are in the cache."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Sufficient statistics of a least-squares problem; float64."""

    G: Float[Tensor, "p p"]
    c: Float[Tensor, "p t"]
    m: Float[Tensor, " p"]
    y: Float[Tensor, " t"]
    yy: Float[Tensor, " t"]
    n: float
    widths: tuple[int, ...] = ()
    """Features of each layer, in order; none where features are of no layers."""
    penalties: tuple[float, ...] = ()
    """Of each layer, in units of the common one; none where all share it."""

    def squared_error(self, weights: Float[Tensor, "a p t"], bias: Float[Tensor, "a t"]) -> Float[Tensor, "a t"]:
        """sum (y - bias - x'w)^2 over these samples, without the samples; G is read once for all weights."""
        flat = weights.movedim(0, 1).reshape(len(self.m), -1)
        quadratic = (flat * (self.G @ flat)).sum(0).view_as(bias)
        linear = (weights * self.c).sum(1)
        crossed = bias * (self.m @ flat).view_as(bias)
        return self.yy - 2 * linear + quadratic + 2 * crossed - 2 * bias * self.y + self.n * bias**2

    def first(self, p: int) -> NormalEquations:
        """Of the first p features, some whole layers; shares memory."""
        layers = sum(end <= p for end in accumulate(self.widths))
        widths, penalties = self.widths[:layers], self.penalties[:layers]
        return replace(self, G=self.G[:p, :p], c=self.c[:p], m=self.m[:p], widths=widths, penalties=penalties)


def add_up(parts: Sequence[NormalEquations]) -> NormalEquations:
    """The statistics of all samples together, in memory of their own."""
    first, *others = parts
    G = square(len(first.m), first.G.device).copy_(first.G)
    for part in others:
        G += part.G
    c, m, y, yy = (torch.stack([getattr(part, name) for part in parts]).sum(0) for name in ("c", "m", "y", "yy"))
    return NormalEquations(G, c, m, y, yy, sum(part.n for part in parts), first.widths, first.penalties)


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights in the features' own units, so that y is about bias + x'w."""

    alpha: float
    """The penalty, or what else a `Solve` was asked for (partial least squares: the number of components)."""
    weights: Float[Tensor, "p t"]
    bias: Float[Tensor, " t"]


def ridge_path(equations: NormalEquations, alphas: Sequence[float]) -> list[Solution | None]:
    """Ridge on standardised features with an unpenalised intercept, one solution per alpha.

    Minimises |y - b - Xs v|^2 / n + alpha |v|^2, i.e. scikit-learn's Ridge(alpha * n) after StandardScaler (Hoerl &
    Kennard 1970), but for features below `FLOOR`, which are penalised more, and for layers with a penalty of their own.
    A dead feature gets weight 0; None where alpha is too small for a Cholesky factor to exist.
    """
    weights, bias, exists = _solve(add_up([equations]), ridge, alphas)
    found = zip(alphas, weights, bias, exists.tolist(), strict=True)
    return [Solution(alpha, w, b) if fine else None for alpha, w, b, fine in found]


@dataclass(frozen=True, eq=False)
class Standardised:
    """The problem |y - b - Xs v|^2 / n on standardised features Xs; a dead feature's row and column are 0."""

    C: Float[Tensor, "p p"]
    """Xs'Xs / n: correlations; smaller for features at the floor, and by their penalties."""
    r: Float[Tensor, "p t"]
    """Xs'(y - mean) / n."""
    variance: Float[Tensor, " t"]
    """Of y."""
    mean: Float[Tensor, " p"]
    scale: Float[Tensor, " p"]
    """1 / standard deviation, at the floor less; over the root of the penalty; 0 for a dead feature."""
    target_mean: Float[Tensor, " t"]

    def in_own_units(self, weights: Float[Tensor, "*a p t"]) -> tuple[Float[Tensor, "*a p t"], Float[Tensor, "*a t"]]:
        """(w, b) with y about b + x'w for the features as they are; overwrites the weights."""
        weights *= self.scale[:, None]
        return weights, self.target_mean - self.mean @ weights

    def first(self, p: int) -> Standardised:
        """Of the first p features; shares memory."""
        return replace(self, C=self.C[:p, :p], r=self.r[:p], mean=self.mean[:p], scale=self.scale[:p])


def standardise(equations: NormalEquations) -> Standardised:
    """Features to variance 1, those below their layer's `FLOOR` to less; overwrites G.

    Where layers have penalties f of their own, to variance 1 / f: alpha |v|^2 is then alpha f |v|^2 of variance 1.
    """
    n = equations.n
    mean, target_mean = equations.m / n, equations.y / n
    second = equations.G.diagonal() / n
    variance = second - mean**2
    alive = variance > DEAD * second.abs() + 1e-300
    divided = torch.maximum(variance, _floor(variance, equations.widths)).clamp(min=1e-300)
    if equations.penalties:
        divided *= spread(divided.new_tensor(equations.penalties), equations.widths)
    scale = torch.where(alive, divided.rsqrt(), 0.0)
    right = scale[:, None] * (equations.c / n - mean[:, None] * target_mean[None, :])
    _correlate(equations.G, mean, scale, n)
    return Standardised(equations.G, right, equations.yy / n - target_mean**2, mean, scale, target_mean)


def _floor(variance: Float[Tensor, " p"], widths: Sequence[int]) -> Float[Tensor, " p"]:
    """The least variance that a feature of each layer is taken to have."""
    if not widths:
        return torch.zeros_like(variance)
    least = torch.stack([FLOOR**2 * part.clamp(min=0).mean() for part in torch.split(variance, list(widths))])
    return spread(least, widths)


def spread(of_layers: Float[Tensor, " l"], widths: Sequence[int]) -> Float[Tensor, " p"]:
    """One number a layer -> one a feature."""
    return torch.repeat_interleave(of_layers, torch.tensor(widths, device=of_layers.device))


def _correlate(G: Float[Tensor, "p p"], mean: Float[Tensor, " p"], scale: Float[Tensor, " p"], n: float) -> None:
    """Second moments -> correlations in place, some rows at a time so that each is fetched once."""
    centre = mean * scale
    for rows, s, m in zip(*(torch.split(x, ROWS) for x in (G, scale / n, centre)), strict=True):
        rows.mul_(s[:, None]).mul_(scale).addr_(m, centre, alpha=-1)


def solve_shifted(
    A: Float[Tensor, "p p"], right: Float[Tensor, "p t"], alphas: Sequence[float]
) -> tuple[Float[Tensor, "a p t"], Bool[Tensor, " a"]]:
    """(A + alpha I)^-1 right for every alpha, and for which a Cholesky factor exists; overwrites A."""
    if A.device.type == "cpu" and len(A) >= BAND_FEATURES and len(alphas) >= BAND_ALPHAS:
        return band(A).solve(right, alphas)
    exact = A.diagonal().clone()
    factor = torch.empty_like(A, memory_format=torch.contiguous_format).mT  # columns contiguous: no copy inside
    failed = torch.empty(len(alphas), dtype=torch.int32, device=A.device)
    solved = right.new_empty(len(alphas), *right.shape)
    for i, alpha in enumerate(alphas):
        A.diagonal().copy_(exact + alpha)
        torch.linalg.cholesky_ex(A, out=(factor, failed[i]))
        half = torch.linalg.solve_triangular(factor, right, upper=False)
        solved[i] = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return solved, failed == 0


Gather = Callable[[Sequence[int]], NormalEquations]
"""The statistics of some folds added up, in memory of their own: whoever asked may overwrite them."""
Solve = Callable[[Standardised, Sequence[float]], "tuple[Float[Tensor, 'a p t'], Bool[Tensor, ' a']]"]
"""Weights for every value of a regularisation, and for which they exist; may overwrite the problem."""


def ridge(problem: Standardised, alphas: Sequence[float]) -> tuple[Float[Tensor, "a p t"], Bool[Tensor, " a"]]:
    """Ridge for every alpha, on standardised features; overwrites C."""
    return solve_shifted(problem.C, problem.r, alphas)


def _solve(
    equations: NormalEquations, solve: Solve, alphas: Sequence[float]
) -> tuple[Float[Tensor, "a p t"], Float[Tensor, "a t"], Bool[Tensor, " a"]]:
    """Weights and biases in the features' own units, and for which alphas they exist; overwrites G."""
    problem = standardise(equations)
    weights, exists = solve(problem, alphas)
    return *problem.in_own_units(weights), exists


def _held_out_errors(
    gather: Gather, folds: Sequence[int], alphas: Sequence[float], solve: Solve
) -> Float[Tensor, " a"]:
    errors = torch.zeros(len(alphas), dtype=torch.float64)
    for fold in folds:
        # the training statistics are gone before the held-out ones are put together
        weights, bias, exists = _solve(gather([k for k in folds if k != fold]), solve, alphas)
        missed = gather([fold]).squared_error(weights, bias).sum(1)
        errors += torch.where(exists, missed, torch.inf).cpu()
    return errors


def distance_from_middle(alphas: Sequence[float]) -> Float[Tensor, " a"]:
    """What stands in for errors where there is nothing to choose by."""
    order = torch.tensor(alphas, dtype=torch.float64).log()
    return (order - order.median()).abs()


def mean_errors(errors: Float[Tensor, " a"], n: float, folds: Sequence[int]) -> tuple[float, ...]:
    """Sums of squares as they are told: means, none where nothing was held out."""
    return tuple((errors / n).tolist()) if len(folds) > 1 else ()


def solver_bytes(p: int, n_alphas: int, targets: int = 1) -> int:
    """What a cross-validation holds at its peak, beside the statistics it is given.

    Two p x p matrices at once (correlations, in G's own memory, and a Cholesky factor), and for each alpha three sets
    of weights and the band's factor with its links.
    """
    return 8 * (2 * p**2 + n_alphas * p * (3 * targets + 2 * WIDTH))


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """The chosen solution and the whole sweep behind it."""

    solution: Solution
    alphas: tuple[float, ...]
    cv_error: tuple[float, ...]
    """Mean squared error over the held-out folds per alpha; inf where some fold could not be solved, none at all where
    nothing was held out."""

    @property
    def at_edge(self) -> bool:
        """The best alpha is the first or last of its grid: the optimum may lie outside."""
        return (
            bool(self.cv_error) and len(self.alphas) > 1 and self.solution.alpha in (min(self.alphas), max(self.alphas))
        )


def cross_validate(
    gather: Gather, folds: Sequence[int], alphas: Sequence[float], solve: Solve = ridge
) -> CrossValidated:
    """Choose alpha by k-fold cross-validation over the given folds' statistics, then fit on all of them.

    With fewer than two folds the middle alpha is taken, as there is nothing to choose by. Raises ValueError where no
    alpha can be solved.
    """
    errors = _held_out_errors(gather, folds, alphas, solve) if len(folds) > 1 else distance_from_middle(alphas)
    for index in errors.argsort().tolist():
        total = gather(folds)
        (weights,), (bias,), exists = _solve(total, solve, [alphas[index]])
        if exists.all():
            n_values = total.n * total.y.numel()
            solution = Solution(alphas[index], weights, bias)
            return CrossValidated(solution, tuple(alphas), mean_errors(errors, n_values, folds))
        del total, weights, bias
    raise ValueError(UNSOLVABLE)
