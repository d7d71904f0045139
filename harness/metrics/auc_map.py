"""AUC against a thresholded map: the pixels of the density above half of its maximum are the positives.

For comparison with studies that scored so only: people look at few places, their blurred density is above half of its
maximum within a few of them, and a map finds these few blobs far more easily than it finds every fixation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import by_chunks, nan_unless
from harness.metrics._inputs import density_of, prediction_of
from harness.metrics._maps import Density, FixationCounts
from harness.metrics._ranks import rank
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

THRESHOLD = 0.5
"""Of the density's maximum."""


def auc_map(prediction: Float[Tensor, "b h w"], density: Density | Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """P(pixel with d > max(d) / 2 has the higher prediction than one without) + P(tie) / 2; exact, every pixel counted.

    nan for a constant density.
    """
    maps = prediction_of(prediction)
    values = density_of(density, maps)
    marked = density.form(_positive) if isinstance(density, Density) else by_chunks(_positive, values)
    ranks = rank(maps, FixationCounts(marked.to(torch.int32).view_as(maps)))
    positives = ranks.count.sum(1)
    pairs = positives * (ranks.negatives - positives)
    # ranked among all pixels: the positives among themselves win half of their own pairs, exactly
    wins = (ranks.count * (ranks.below + ranks.at_most)).sum(1) - positives**2
    return nan_unless(ranks.valid & (pairs > 0), wins.double() / (2 * pairs))


def _positive(d: Float[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    return d > THRESHOLD * d.amax(1, keepdim=True)


METRIC = Metric(
    name="auc_map",
    version=1,
    function=auc_map,
    needs=("density",),
    higher_is_better=True,
    bounds=(0.0, 1.0),
    reference="for comparison with the original study only (its AUC)",
)
