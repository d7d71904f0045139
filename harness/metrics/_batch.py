"""How a batch is worked through, and the few reductions that the metrics share.

On a CPU the batch goes map by map: a map of 480x640 stays in the cache, temporary memory does not grow with the batch
(at most about 24 bytes a pixel of one map), and a score does not depend on what else is in the batch. Elsewhere chunks
of up to CHUNK pixels go at once (at most about 24 bytes a pixel of the chunk: 1.6 GB). Fixated pixels take 16 bytes
each, and every image as many as the one with most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

CHUNK = 1 << 26


def by_chunks(score: Callable[..., Tensor], *parts: Tensor) -> Float[Tensor, " b"]:
    """`score` applied to chunks of maps (each flattened to (c, n)) and put together again, float64."""
    first = parts[0]
    if not len(first):
        return first.new_empty(0, dtype=torch.float64)
    step = 1 if first.device.type == "cpu" else max(1, CHUNK // first[0].numel())
    flat = [part.flatten(1) for part in parts]
    return torch.cat([score(*(part[i : i + step] for part in flat)) for i in range(0, len(first), step)])


def dot(x: Float[Tensor, "b n"], y: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """Row by row products, float64."""
    # not torch.dot: it takes half the time, but in float32 it sums a map in few long runs and loses three digits
    return (x * y).sum(1).double()


def extent(x: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b 1"], Float[Tensor, "b 1"]]:
    """Smallest and largest value of each map; nan where a map holds one."""
    # two passes: torch.aminmax along an axis takes 0.7 ms a 480x640 map, amin and amax 0.02 each
    return x.amin(1, keepdim=True), x.amax(1, keepdim=True)


def finite(x: Float[Tensor, "b n"]) -> Bool[Tensor, " b"]:
    """Whether a map is free of NaN and infinity."""
    low, high = extent(x)
    return (low.isfinite() & high.isfinite())[:, 0]


def unit(x: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, " b"]]:
    """Each map scaled to [0, 1], as a new tensor, and the range it had: 0 if constant, not finite for a bad map.

    A range of 0 is exact, so that a constant map is never taken for a very flat one; scaling first keeps squares of
    very small and very large maps from under- and overflowing.
    """
    low, high = extent(x)
    span = high - low
    return (x - low).div_(span), span[:, 0]


def centred(x: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, " b"]]:
    """Each map scaled to a range of 1 and a mean of 0, as a new tensor, and the range it had (see `unit`)."""
    scaled, span = unit(x)
    return scaled.sub_(scaled.mean(1, keepdim=True)), span


def mean_at(values: Float[Tensor, "b k"], count: Int64[Tensor, "b k"]) -> Float[Tensor, " b"]:
    """The mean of the values at fixated pixels, each counted as often as it was looked at, float64."""
    if count.device.type == "cpu":
        # without the padding, whose length would change the order of the sum and so the last digit
        used = int((count > 0).sum(1).max())
        values, count = values[:, :used], count[:, :used]
    values = values.double()
    return torch.where(count > 0, values * count, 0.0).sum(1) / count.sum(1)


def nan_unless(valid: Bool[Tensor, " b"], score: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The score where it is defined, nan elsewhere."""
    return torch.where(valid, score, torch.nan)


def nonzero(mask: Bool[Tensor, " n"]) -> Int64[Tensor, " m"]:
    """Where a mask is true."""
    if mask.device.type == "cpu":
        # ndarray.nonzero takes 0.04 ms for 307,200 booleans, torch's 0.26
        found: Any = mask.numpy().nonzero()[0]
        return torch.from_numpy(found)
    return mask.nonzero()[:, 0]
