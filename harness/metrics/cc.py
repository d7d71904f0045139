"""CC: Pearson's correlation of a predicted map and a density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import centred, dot, nan_unless
from harness.metrics._inputs import against_density
from harness.metrics._maps import Density
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float


def cc(prediction: Float[Tensor, "b h w"], density: Density | Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """cov(p, d) / (sd(p) sd(d)) over all pixels; 0 for a constant prediction, nan for a constant density."""
    return against_density(_cc, _centred, prediction, density)


def _cc(p: Float[Tensor, "b n"], y: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    x, span = centred(p)
    yy = dot(y, y)  # not finite for a constant density, which has no scale
    r = (dot(x, y) / (dot(x, x) * yy).sqrt()).clamp(-1, 1)
    return nan_unless(span.isfinite() & yy.isfinite(), torch.where(span == 0, 0.0, r))


def _centred(d: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    return centred(d)[0]


METRIC = Metric(
    name="cc",
    version=1,
    function=cc,
    needs=("density",),
    higher_is_better=True,
    bounds=(-1.0, 1.0),
    reference="Le Meur, Le Callet & Barba 2007",
)
