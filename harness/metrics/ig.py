"""IG: how many bits a fixation a predicted density gains over a baseline density."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from harness.metrics._batch import by_chunks, mean_at, nan_unless
from harness.metrics._inputs import density_of, fixated_pixels_of, prediction_of
from harness.metrics._maps import FixationCounts
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Int64


def ig(
    log_density: Float[Tensor, "b h w"],
    fixations: FixationCounts | Int[Tensor, "b h w"],
    baseline_log_density: Float[Tensor, "b h w"],
) -> Float[Tensor, " b"]:
    """mean over fixations of log2 p - log2 baseline, bits per fixation, duplicates counted.

    Both maps are natural logarithms of densities that sum to 1 over the pixels. -inf where a fixation falls on a
    pixel of probability 0; nan without a fixation, or where the map holds NaN or +inf.
    """
    maps = prediction_of(log_density, "log_density")
    fixated = fixated_pixels_of(fixations, maps)
    baseline = density_of(baseline_log_density, maps, "baseline_log_density")
    return by_chunks(_ig, maps, baseline, fixated.pixel, fixated.count)


def _ig(
    log_p: Float[Tensor, "b n"],
    log_b: Float[Tensor, "b n"],
    pixel: Int64[Tensor, "b k"],
    count: Int64[Tensor, "b k"],
) -> Float[Tensor, " b"]:
    gain = log_p.gather(1, pixel).double() - log_b.gather(1, pixel).double()
    return nan_unless(log_p.amax(1) < math.inf, mean_at(gain, count) / math.log(2))


METRIC = Metric(
    name="ig",
    version=1,
    function=ig,
    needs=("fixations", "baseline"),
    higher_is_better=True,
    bounds=(-float("inf"), float("inf")),
    reference="Kuemmerer, Wallis & Bethge 2015",
    unit="bits per fixation",
    scores="log_density",
)
