"""NSS: the standardised map's mean at the fixations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import by_chunks, centred, dot, mean_at, nan_unless
from harness.metrics._inputs import fixated_pixels_of, prediction_of
from harness.metrics._maps import FixationCounts
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Int64


def nss(prediction: Float[Tensor, "b h w"], fixations: FixationCounts | Int[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """mean over fixations of (p - mean(p)) / sd(p), duplicates counted, sd over all pixels with ddof 0.

    0 for a constant prediction, nan without a fixation.
    """
    maps = prediction_of(prediction)
    fixated = fixated_pixels_of(fixations, maps)
    return by_chunks(_nss, maps, fixated.pixel, fixated.count)


def _nss(p: Float[Tensor, "b n"], pixel: Int64[Tensor, "b k"], count: Int64[Tensor, "b k"]) -> Float[Tensor, " b"]:
    x, span = centred(p)
    sd = (dot(x, x) / x.shape[1]).sqrt()
    score = torch.where(span == 0, 0.0, mean_at(x.gather(1, pixel), count) / sd)
    return nan_unless(span.isfinite() & (count.sum(1) > 0), score)


METRIC = Metric(
    name="nss",
    version=1,
    function=nss,
    needs=("fixations",),
    higher_is_better=True,
    bounds=(-float("inf"), float("inf")),
    reference="Peters, Iyer, Itti & Koch 2005",
    unit="standard deviations",
)
