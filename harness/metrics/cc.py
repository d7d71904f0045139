"""CC: Pearson's correlation of a predicted map and a density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import by_chunks, centred, dot, nan_unless
from harness.metrics._inputs import density_of, prediction_of
from harness.metrics._maps import Density
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float


def cc(prediction: Float[Tensor, "b h w"], density: Density | Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """cov(p, d) / (sd(p) sd(d)) over all pixels; 0 for a constant prediction, nan for a constant density."""
    maps = prediction_of(prediction)
    return by_chunks(_cc, maps, density_of(density, maps))


def _cc(p: Float[Tensor, "b n"], d: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    x, span_p = centred(p)
    y, span_d = centred(d)
    r = (dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()).clamp(-1, 1)
    return nan_unless(span_p.isfinite() & span_d.isfinite() & (span_d > 0), torch.where(span_p == 0, 0.0, r))


METRIC = Metric(
    name="cc",
    version=1,
    function=cc,
    needs=("density",),
    higher_is_better=True,
    bounds=(-1.0, 1.0),
    reference="Le Meur, Le Callet & Barba 2007",
)
