"""MSE: the mean squared error of a map in 0..1 against the density over its maximum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import extent, nan_unless
from harness.metrics._inputs import against_density
from harness.metrics._maps import Density
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float


def mse(prediction: Float[Tensor, "b h w"], density: Density | Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """mean (max(p, 0) / max(1, max p) - d / max d)^2 over all pixels; nan for a constant density.

    A prediction that lies within 0..1 already (a sigmoid's) is taken as it is, any other is cut at 0 and divided by its
    maximum. A map of zeros scores mean (d / max d)^2, which is small: little of an image is looked at.
    """
    return against_density(_mse, _over_maximum, prediction, density)


def _mse(p: Float[Tensor, "b n"], y: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    low, high = extent(p)
    bounded = (low.isfinite() & high.isfinite())[:, 0]
    x = p.clamp(min=0).div_(high.clamp(min=1))
    error = x.sub_(y).square_().mean(1).double()
    return nan_unless(bounded & error.isfinite(), error)


def _over_maximum(d: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Divided by its maximum; nan throughout for a constant map."""
    low, high = extent(d)
    return d / torch.where(high > low, high, torch.nan)


METRIC = Metric(
    name="mse",
    version=1,
    function=mse,
    needs=("density",),
    higher_is_better=False,
    bounds=(0.0, 1.0),
    reference="for comparison with the original study only (its MSE)",
)
