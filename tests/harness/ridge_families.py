"""Statistics of made-up regressions with two targets, for ridges that are solved together and each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from harness.normal_equations import NormalEquations
from harness.ridge_family import Member

MEMBERS = [Member(target, more) for target in (0, 1) for more in (False, True)]


def parts(p: int, folds: int, seed: int) -> list[NormalEquations]:
    """Statistics of p correlated features on scales of their own and two targets, fold by fold."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(p, p, generator=rng, dtype=torch.float64) / p**0.5
    weights = torch.randn(p, 2, generator=rng, dtype=torch.float64)
    found = []
    for _ in range(folds):
        x = (torch.randn(2 * p, p, generator=rng, dtype=torch.float64) @ mixing + 1) * torch.linspace(0.1, 10, p)
        y = x @ weights + torch.randn(2 * p, 2, generator=rng, dtype=torch.float64) * p**0.5
        found.append(NormalEquations(x.T @ x, x.T @ y, x.sum(0), y.sum(0), y.square().sum(0), float(2 * p)))
    return found


def alone(folds: Sequence[NormalEquations], member: Member, more: int) -> list[NormalEquations]:
    """The same statistics of one target, and of the first features only where the member reads no more."""
    some = folds if member.more else [fold.first(len(fold.m) - more) for fold in folds]
    t = slice(member.target, member.target + 1)
    return [replace(fold, c=fold.c[:, t], y=fold.y[t], yy=fold.yy[t]) for fold in some]
