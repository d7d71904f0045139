"""AUC-Borji: a sampled, stepped approximation of the AUC, for comparison with published tables only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import nan_unless, unit
from harness.metrics._inputs import fixated_pixels_of, prediction_of
from harness.metrics._maps import FixationCounts
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def auc_borji(
    prediction: Float[Tensor, "b h w"],
    fixations: FixationCounts | Int[Tensor, "b h w"],
    *,
    generator: torch.Generator,
    splits: int = 100,
    step: float = 0.1,
) -> Float[Tensor, " b"]:
    """Mean area over `splits` draws of as many random pixels as are fixated, thresholds `step` apart in [0, 1].

    A fixated pixel counts once. Unlike auc it depends on the map's scale; its limit for many splits and small steps
    is the Mann-Whitney statistic. 0.5 for a constant prediction, nan without a fixation. Draws map after map.
    """
    maps = prediction_of(prediction)
    fixated = fixated_pixels_of(fixations, maps)
    levels = torch.arange(0, 1 + step / 2, step, dtype=maps.dtype, device=maps.device)
    areas = maps.new_empty(len(maps), dtype=torch.float64)
    for i, row in enumerate(maps.flatten(1)):
        pixel = fixated.pixel[i, fixated.count[i] > 0]
        draws = torch.randint(len(row), (len(pixel), splits), generator=generator, device=generator.device)
        areas[i] = _area(row, pixel, draws.to(row.device), levels)
    return areas


def _area(
    row: Float[Tensor, " n"], pixel: Int[Tensor, " k"], draws: Int[Tensor, "k splits"], levels: Float[Tensor, " t"]
) -> Float[Tensor, ""]:
    scaled, span = unit(row[None])
    scaled = torch.where(span == 0, 0.0, scaled)[0]
    hits, alarms = _reaching(scaled[pixel], levels), _reaching(scaled[draws], levels)
    # from (1, 1), which all values reach, to (0, 0), which none does
    hits, alarms = (torch.nn.functional.pad(rate, (0, 1)) for rate in (hits, alarms))
    area = torch.trapezoid(hits.expand_as(alarms), alarms).mean().neg()
    return nan_unless(span.isfinite(), area)[0]


def _reaching(values: Float[Tensor, "k ..."], levels: Float[Tensor, " t"]) -> Float[Tensor, "... t"]:
    """The share of the values that reach each level."""
    return (values[..., None] >= levels).sum(0).double() / len(values)


METRIC = Metric(
    name="auc_borji",
    version=1,
    function=auc_borji,
    needs=("fixations", "generator"),
    higher_is_better=True,
    bounds=(0.0, 1.0),
    reference="Borji, Sihite & Itti 2013",
)
