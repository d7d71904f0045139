"""SIM: the histogram intersection of a predicted map and a density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import by_chunks, nan_unless, unit
from harness.metrics._inputs import density_of, prediction_of
from harness.metrics._maps import Density
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float


def sim(prediction: Float[Tensor, "b h w"], density: Density | Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """sum min(p, d), each map scaled to [0, 1] and then to a sum of 1; nan where either map is constant."""
    maps = prediction_of(prediction)
    return by_chunks(_sim, maps, density_of(density, maps))


def _sim(p: Float[Tensor, "b n"], d: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    x, span_p = unit(p)
    y, span_d = unit(d)
    x.div_(x.sum(1, keepdim=True))
    y.div_(y.sum(1, keepdim=True))
    shared = torch.minimum(x, y, out=x).sum(1).double()
    return nan_unless(span_p.isfinite() & (span_p > 0) & span_d.isfinite() & (span_d > 0), shared)


METRIC = Metric(
    name="sim",
    version=1,
    function=sim,
    needs=("density",),
    higher_is_better=True,
    bounds=(0.0, 1.0),
    reference="Judd, Durand & Torralba 2012",
)
