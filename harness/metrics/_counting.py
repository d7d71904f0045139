"""How many of many values are below, and how many at most, each of a few: exact, without sorting the many.

On one core of an AMD EPYC 9004, 307,200 float32 values against 300: torch.sort 28 ms, a binary search of the 300 for
each value 5 to 12 ms, ndarray.sort 8 ms (0.8 ms where numpy has AVX-512 code for the CPU), bins 0.8 ms. Bins it is:
any non-decreasing map of values to bin numbers settles every value that shares no bin with one of the few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import nonzero

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Int32, Int64

BINS = 1 << 16
FEW = 1 << 15
"""From here on sorting is as fast as another round of bins."""

Binning = Callable[[Tensor, Tensor, float], Tensor]


def count_by_bins(x: Float[Tensor, " n"], q: Float[Tensor, " k"]) -> tuple[Int64[Tensor, " k"], Int64[Tensor, " k"]]:
    """How many x are below, and at most, each q; q is sorted, not empty, all are finite. For the CPU.

    Even bins first; what they leave unsettled (peaked maps) goes through logarithmic bins, the rest is sorted.
    """
    return _count(x, q, (_even, _logarithmic))


def _count(x: Tensor, q: Tensor, binnings: tuple[Binning, ...]) -> tuple[Tensor, Tensor]:
    span = float(q[-1] - q[0])
    if span == 0:
        return (x < q[0]).sum().expand(len(q)), (x <= q[0]).sum().expand(len(q))
    if not binnings or len(x) <= FEW or not torch.finfo(x.dtype).tiny < span / BINS < torch.inf:
        return _count_sorted(x, q)
    bins = binnings[0](x, q[0], span)
    bins_q = binnings[0](q, q[0], span).long()
    size = torch.bincount(bins, minlength=BINS)
    size[bins_q] = 0
    settled = size.cumsum(0)[bins_q]

    # bytes, because they turn into booleans for nothing; a comparison would take 0.14 ms
    shared = torch.zeros(BINS, dtype=torch.uint8)
    shared[bins_q] = 1
    near = nonzero(shared.index_select(0, bins).view(torch.bool))
    # the smallest of the few in a bin owns it
    first = torch.searchsorted(bins_q, bins_q)
    owner = torch.searchsorted(bins_q, bins[near].long())
    x, held = x[near], q[owner]
    # ties with the owner, and values below it, need no sorting: nothing else is left of a map of few distinct values
    equal = torch.bincount(owner[x == held], minlength=len(q))
    lower = torch.bincount(owner[x < held], minlength=len(q))
    owned = (equal + lower).cumsum(0)
    tied = torch.where(q == q[first], equal[first], 0)
    below, at_most = _count(x[x > held], q, binnings[1:])
    return settled + owned - tied + below, settled + owned + at_most


def _even(x: Tensor, low: Tensor, span: float) -> Int32[Tensor, " n"]:
    """Bins of equal width from `low` on, one more for what is below and one for what is above."""
    # one rounding an operation: a fused multiply-add would round differently in torch's vector loop and in its tail,
    # and equal values must land in equal bins
    per_unit = (BINS - 3) / span
    return (x - (low - 1 / per_unit)).mul_(per_unit).clamp_(0, BINS - 1).to(torch.int32)


def _logarithmic(x: Tensor, low: Tensor, span: float) -> Int32[Tensor, " n"]:
    """Bins that get finer towards `low`: the bits of a non-negative float grow with it, like its logarithm."""
    integer, real = (torch.int32, torch.float32) if x.dtype == torch.float32 else (torch.int64, torch.float64)
    top = int(torch.tensor(span, dtype=x.dtype).view(integer))
    bits = (x - low).add_(0.0).view(integer)  # + 0.0, because the bits of -0.0 are negative
    scaled = bits.clamp_(min=-1).to(real).mul_((BINS - 3) / top)
    return scaled.add_(1).clamp_(max=BINS - 1).to(torch.int32)


def _count_sorted(x: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    values, few = x.numpy().copy(), q.numpy()
    values.sort()
    return torch.from_numpy(values.searchsorted(few, "left")), torch.from_numpy(values.searchsorted(few, "right"))


def count_by_searching(
    x: Float[Tensor, "b n"], q: Float[Tensor, "b k"], weight: Int[Tensor, "b n"] | None = None
) -> tuple[Int64[Tensor, "b k"], Int64[Tensor, "b k"]]:
    """How many x are below, and at most, each q of the same row; rows of q are sorted. For a GPU, row by row at once.

    With the next smaller float before each q as a boundary, one search settles both questions.
    """
    previous = q.nextafter(torch.full_like(q, -torch.inf))
    bounds = torch.cat([previous, q], 1).sort(1).values
    between = torch.searchsorted(bounds, x)
    size = torch.zeros(len(q), bounds.shape[1] + 1, dtype=torch.int64, device=x.device)
    one = torch.ones((), dtype=torch.int64, device=x.device).expand_as(between)
    size.scatter_add_(1, between, one if weight is None else weight)
    up_to = size.cumsum(1)
    return up_to.gather(1, torch.searchsorted(bounds, previous)), up_to.gather(1, torch.searchsorted(bounds, q))
