"""SIM: the histogram intersection of a predicted map and a density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import unit
from harness.metrics._inputs import against_density
from harness.metrics._maps import Density
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float


def sim(prediction: Float[Tensor, "b h w"], density: Density | Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """sum min(p, d), each map scaled to [0, 1] and then to a sum of 1; nan where either map is constant."""
    return against_density(_sim, _share, prediction, density)


def _sim(p: Float[Tensor, "b n"], y: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    x = _share(p)
    return torch.minimum(x, y, out=x).sum(1).double()


def _share(x: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Scaled to [0, 1], then to a sum of 1; nan throughout for a constant map and for one that is not finite."""
    scaled, span = unit(x)
    return scaled.div_(torch.where(span.isfinite(), scaled.sum(1), torch.nan)[:, None])


METRIC = Metric(
    name="sim",
    version=1,
    function=sim,
    needs=("density",),
    higher_is_better=True,
    bounds=(0.0, 1.0),
    reference="Judd, Durand & Torralba 2012",
)
