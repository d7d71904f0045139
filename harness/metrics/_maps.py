"""Two kinds of ground truth that must never be mixed up: a blurred density and counts of fixations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.errors import MetricInputError
from harness.metrics._batch import by_chunks, nonzero

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Int64

Form = Callable[[Tensor], Tensor]
"""What a metric makes of flattened maps (b, n), keeping their shape."""
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Density:
    """Blurred gaze, (b, h, w), float, non-negative: what CC, SIM and KLD compare with.

    Keeps the forms in which metrics use it (as large as itself each): many maps are scored against one density.
    """

    values: Float[Tensor, "b h w"]
    _forms: dict[Form, Float[Tensor, "b n"]] = field(default_factory=dict, repr=False)

    def form(self, make: Form) -> Float[Tensor, "b n"]:
        """`make` applied to every map once, however often it is asked for."""
        if make not in self._forms:
            self._forms[make] = by_chunks(make, self.values.detach())
        return self._forms[make]


@dataclass(frozen=True, eq=False)
class FixatedPixels:
    """The pixels that were looked at, a row per image, padded with pixel 0 and count 0."""

    pixel: Int64[Tensor, "b k"]
    """Index into the flattened map."""
    count: Int64[Tensor, "b k"]
    """Fixations on that pixel; 0 marks padding."""

    @property
    def total(self) -> Int64[Tensor, " b"]:
        """Fixations of each image, duplicates counted."""
        return self.count.sum(1)


@dataclass(frozen=True, eq=False)
class FixationCounts:
    """Gaze points per pixel, (b, h, w), integer: what NSS, AUC and IG count."""

    values: Int[Tensor, "b h w"]

    @cached_property
    def pixels(self) -> FixatedPixels:
        """Where the counts are not zero; found once, however many maps are scored against them.

        Raises MetricInputError for negative counts and for a tensor that holds no counts at all (floats, booleans).
        """
        counts = self.values.detach().flatten(1)
        if counts.dtype not in INTEGERS:
            raise MetricInputError(
                f"fixations must be integer counts per pixel, not {counts.dtype}: "
                "a density belongs to cc, sim and kld; convert real counts with .to(torch.int32)"
            )
        if counts.numel() and counts.min() < 0:
            raise MetricInputError(f"fixations hold negative counts (the smallest is {int(counts.min())})")
        return _pad(nonzero(counts.flatten().to(torch.bool)), counts)


def _pad(found: Int64[Tensor, " m"], counts: Int[Tensor, "b n"]) -> FixatedPixels:
    images, n = counts.shape
    image, where = found // n, found % n
    per_image = torch.bincount(image, minlength=images)
    column = torch.arange(len(image), device=image.device) - (per_image.cumsum(0) - per_image)[image]
    pixel = image.new_zeros(images, int(per_image.max()) if images else 0)
    count = torch.zeros_like(pixel)
    pixel[image, column] = where
    count[image, column] = counts[image, where].long()
    return FixatedPixels(pixel, count)
