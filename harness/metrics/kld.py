"""KLD: the divergence of a predicted map from a density, as the MIT benchmark computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import dot, extent, nan_unless
from harness.metrics._inputs import against_density
from harness.metrics._maps import Density
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float

EPS = 2.2204e-16
"""What the MIT code adds to the prediction and to the ratio."""


def kld(prediction: Float[Tensor, "b h w"], density: Density | Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """sum d log(eps + d / (p + eps)) in nats, both maps shifted to be non-negative and scaled to a sum of 1.

    A map of which the shift leaves nothing (all zero) is the uniform distribution; nan for NaN or infinity in a map.
    """
    return against_density(_kld, _distribution, prediction, density)


def _kld(p: Float[Tensor, "b n"], d: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    p = _distribution(p).add_(EPS)
    divergence = dot(d, torch.div(d, p, out=p).add_(EPS).log_())
    return nan_unless(divergence.isfinite(), divergence)


def _distribution(x: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    low, high = extent(x)
    shift = low.clamp(max=0)
    if x.device.type != "cpu" or (high == shift).any():  # to ask would be to wait for the device
        x = torch.where(high == shift, shift + 1, x)
    shifted = x - shift
    total = shifted.sum(1, keepdim=True)
    # a sum that overflowed would turn every value into 0, and that into a number
    return shifted.div_(torch.where(total.isfinite(), total, torch.nan))


METRIC = Metric(
    name="kld",
    version=1,
    function=kld,
    needs=("density",),
    higher_is_better=False,
    bounds=(0.0, float("inf")),
    reference="Bylinskii, Judd, Oliva, Torralba & Durand 2019",
    unit="nats",
)
