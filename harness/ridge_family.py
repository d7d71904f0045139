"""Ridges on the same features, with and without some more, to several targets: solved together, by one factor.

With the more features last, the correlations are [A B; B' D]. (A + alpha I)^-1 [r, B] holds the solutions without
them, and by the Schur complement D + alpha I - B'(A + alpha I)^-1 B those with them (Golub & Van Loan, section 3.2).
What is factored is A, once for an alpha or once for all, whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.normal_equations import (
    CrossValidated,
    Gather,
    NormalEquations,
    Solution,
    distance_from_middle,
    mean_errors,
    solve_shifted,
    standardise,
)

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Member:
    """One ridge of the family: to which target, and whether it reads the more features, too."""

    target: int
    more: bool = False


@dataclass(frozen=True, eq=False)
class _Path:
    """Solutions for every alpha and target in the features' own units, and for which alphas they exist."""

    weights: Float[Tensor, "a p t"]
    bias: Float[Tensor, "a t"]
    exists: Bool[Tensor, " a"]


def cross_validate_family(
    gather: Gather, folds: Sequence[int], alphas: Sequence[float], members: Sequence[Member], more: int
) -> list[CrossValidated | None]:
    """For each member what `cross_validate` finds, at an alpha of its own, None where no alpha can be solved.

    `more` of the features, the last ones, are those that only some members read.
    """
    errors = _held_out_errors(gather, folds, alphas, members, more)
    waiting = {member: error.argsort().tolist() for member, error in zip(members, errors, strict=True)}
    found: dict[Member, tuple[Solution, float]] = {}
    while waiting := {member: order for member, order in waiting.items() if order and member not in found}:
        tried = sorted({order[0] for order in waiting.values()})
        total = gather(folds)
        paths = _solve(total, [alphas[index] for index in tried], more)
        for member, order in waiting.items():
            path, place = paths[member.more], tried.index(order.pop(0))
            if path.exists[place]:
                t = slice(member.target, member.target + 1)
                solution = Solution(alphas[tried[place]], path.weights[place][:, t].clone(), path.bias[place][t])
                found[member] = solution, total.n
        del total, paths
    return [
        CrossValidated(found[member][0], tuple(alphas), mean_errors(error, found[member][1], folds))
        if member in found
        else None
        for member, error in zip(members, errors, strict=True)
    ]


def _held_out_errors(
    gather: Gather, folds: Sequence[int], alphas: Sequence[float], members: Sequence[Member], more: int
) -> list[Float[Tensor, " a"]]:
    """Squared errors over the held-out folds, inf where some fold cannot be solved."""
    if len(folds) < 2:
        return [distance_from_middle(alphas) for _ in members]
    errors = [torch.zeros(len(alphas), dtype=torch.float64) for _ in members]
    for fold in folds:
        # the training statistics are gone before the held-out ones are put together, and these before the next fold's
        paths = _solve(gather([k for k in folds if k != fold]), alphas, more)
        missed = _missed(gather([fold]), paths, {member.more for member in members}, more)
        for member, error in zip(members, errors, strict=True):
            column = missed[member.more][:, member.target]
            error += torch.where(paths[member.more].exists, column, torch.inf).cpu()
    return errors


def _missed(
    wide: NormalEquations, paths: dict[bool, _Path], asked: set[bool], more: int
) -> dict[bool, Float[Tensor, "a t"]]:
    """Squared errors without the more features (False) and with them, as far as they are asked for."""
    held_out = {False: wide.first(len(wide.m) - more), True: wide}
    return {which: held_out[which].squared_error(paths[which].weights, paths[which].bias) for which in asked}


def _solve(equations: NormalEquations, alphas: Sequence[float], more: int) -> dict[bool, _Path]:
    """Without the more features (False) and with them (True); overwrites G."""
    problem = standardise(equations)
    p = len(problem.C) - more
    B, D, r = problem.C[p:, :p].T.clone(), problem.C[p:, p:].clone(), problem.r
    solved, exists = solve_shifted(problem.C[:p, :p], torch.cat([r[:p], B], dim=1), alphas)
    narrow, carried = torch.split(solved, [r.shape[1], more], dim=2)
    wide, fine = _bordered(narrow, carried, B, D, r[p:], alphas)
    return {
        False: _Path(*problem.first(p).in_own_units(narrow), exists),
        True: _Path(*problem.in_own_units(wide), exists & fine),
    }


def _bordered(
    narrow: Float[Tensor, "a p t"],
    carried: Float[Tensor, "a p k"],
    B: Float[Tensor, "p k"],
    D: Float[Tensor, "k k"],
    r: Float[Tensor, "k t"],
    alphas: Sequence[float],
) -> tuple[Float[Tensor, "a q t"], Bool[Tensor, " a"]]:
    """The solutions with the k more features, from those without and from (A + alpha I)^-1 B."""
    shifts = torch.tensor(alphas, dtype=D.dtype, device=D.device)[:, None, None]
    schur = D + shifts * torch.eye(len(D), dtype=D.dtype, device=D.device) - B.T @ carried
    factor, failed = torch.linalg.cholesky_ex(schur)
    last = torch.cholesky_solve(r - B.T @ narrow, factor)
    return torch.cat([narrow - carried @ last, last], dim=1), failed == 0
