"""Where each fixated value stands among the values of its map (or of other images' fixations): exact integer counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import CHUNK, finite
from harness.metrics._counting import count_by_bins, count_by_searching
from harness.metrics._inputs import fixated_pixels_of, prediction_of
from harness.metrics._maps import FixatedPixels, FixationCounts

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Int64


@dataclass(frozen=True, eq=False)
class Ranks:
    """A row per image, its fixated pixels in the order of their predicted values; padded with value inf, count 0."""

    value: Float[Tensor, "b k"]
    count: Int64[Tensor, "b k"]
    """Fixations on that pixel."""
    below: Int64[Tensor, "b k"]
    """How many negatives are smaller than the value."""
    at_most: Int64[Tensor, "b k"]
    """How many negatives are not larger."""
    negatives: Int64[Tensor, " b"]
    """How many there are."""
    valid: Bool[Tensor, " b"]
    """Whether the map is free of NaN and infinity; where not, the counts mean nothing."""


def rank(prediction: Float[Tensor, "b h w"], fixations: FixationCounts | Int[Tensor, "b h w"]) -> Ranks:
    """The fixated values among all pixels of their map: what auc and auc_judd both need."""
    maps = prediction_of(prediction)
    fixated = fixated_pixels_of(fixations, maps)
    flat = maps.flatten(1)
    value, count = _sorted_values(flat, fixated)
    valid = finite(flat)
    below, at_most = torch.full_like(count, flat.shape[1]), torch.full_like(count, flat.shape[1])
    if flat.device.type == "cpu":
        for i, k in _worth_counting(valid, count):
            below[i, :k], at_most[i, :k] = count_by_bins(flat[i], value[i, :k])
    else:
        step = max(1, CHUNK // flat.shape[1])
        for i in range(0, len(flat), step):
            rows = slice(i, i + step)
            below[rows], at_most[rows] = count_by_searching(flat[rows], value[rows])
    negatives = torch.full((len(flat),), flat.shape[1], device=flat.device)
    return Ranks(value, count, below, at_most, negatives, valid)


def rank_among(
    prediction: Float[Tensor, "b h w"],
    fixations: FixationCounts | Int[Tensor, "b h w"],
    nonfixations: FixationCounts | Int[Tensor, "b h w"],
) -> Ranks:
    """The fixated values among the values at the non-fixations, each of these as often as its count says."""
    maps = prediction_of(prediction)
    fixated = fixated_pixels_of(fixations, maps)
    others = fixated_pixels_of(nonfixations, maps, "nonfixations")
    flat = maps.flatten(1)
    value, count = _sorted_values(flat, fixated)
    valid = finite(flat)
    negative = flat.gather(1, others.pixel)
    if flat.device.type == "cpu":
        below, at_most = torch.zeros_like(count), torch.zeros_like(count)
        for i, k in _worth_counting(valid, count):
            among = negative[i].repeat_interleave(others.count[i])
            below[i, :k], at_most[i, :k] = count_by_bins(among, value[i, :k])
    else:
        below, at_most = count_by_searching(negative, value, others.count)
    return Ranks(value, count, below, at_most, others.total, valid)


def _sorted_values(
    flat: Float[Tensor, "b n"], fixated: FixatedPixels
) -> tuple[Float[Tensor, "b k"], Int64[Tensor, "b k"]]:
    values = torch.where(fixated.count > 0, flat.gather(1, fixated.pixel), torch.inf)
    value, order = values.sort(1)
    return value, fixated.count.gather(1, order)


def _worth_counting(valid: Bool[Tensor, " b"], count: Int64[Tensor, "b k"]) -> list[tuple[int, int]]:
    """The maps that can be ranked and the number of their fixated pixels."""
    fixated = ((count > 0).sum(1) * valid).tolist()
    return [(i, k) for i, k in enumerate(fixated) if k]
