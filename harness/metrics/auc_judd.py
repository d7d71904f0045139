"""AUC-Judd: fixated against non-fixated pixels, thresholds at the fixated values, without jitter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.metrics._batch import nan_unless
from harness.metrics._maps import FixationCounts
from harness.metrics._ranks import Ranks, rank
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def auc_judd(
    prediction: Float[Tensor, "b h w"],
    fixations: FixationCounts | Int[Tensor, "b h w"],
    *,
    ranks: Ranks | None = None,
) -> Float[Tensor, " b"]:
    """The area under the ROC points at the values of the fixated pixels, joined by straight lines.

    A fixated pixel counts once however often it was looked at. nan without a fixated or without another pixel.
    `ranks` are those of `rank(prediction, fixations)` where they are known already.
    """
    return _area(ranks or rank(prediction, fixations))


def _area(ranks: Ranks) -> Float[Tensor, " b"]:
    """A trapezoid a fixated pixel: from the others below its value to the others below the next fixated value."""
    present = ranks.count > 0
    fixated = present.sum(1)
    others = ranks.negatives - fixated
    below = ranks.below - torch.searchsorted(ranks.value, ranks.value)
    below_next = torch.cat([below, others[:, None]], 1).gather(
        1, torch.searchsorted(ranks.value, ranks.value, right=True)
    )
    twice = torch.where(present, below + below_next, 0).sum(1)
    pairs = fixated * others
    return nan_unless(ranks.valid & (pairs > 0), twice.double() / (2 * pairs))


METRIC = Metric(
    name="auc_judd",
    version=1,
    function=auc_judd,
    needs=("fixations",),
    higher_is_better=True,
    bounds=(0.0, 1.0),
    reference="Judd, Ehinger, Durand & Torralba 2009",
    shares_ranks=True,
)
