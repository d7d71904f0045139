"""AUC: the probability that a fixation falls on a higher value than a random pixel of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from harness.metrics._batch import nan_unless
from harness.metrics._maps import FixationCounts
from harness.metrics._ranks import Ranks, rank
from harness.metrics._record import Metric

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def auc(
    prediction: Float[Tensor, "b h w"],
    fixations: FixationCounts | Int[Tensor, "b h w"],
    *,
    ranks: Ranks | None = None,
) -> Float[Tensor, " b"]:
    """The Mann-Whitney statistic: every fixation counted, all pixels as negatives, ties half.

    nan without a fixation. `ranks` are those of `rank(prediction, fixations)` where they are known already.
    """
    return mann_whitney(ranks or rank(prediction, fixations))


def mann_whitney(ranks: Ranks) -> Float[Tensor, " b"]:
    """P(fixation > negative) + P(tie) / 2; counts are integers until the one division, so it is exact."""
    wins = (ranks.count * (ranks.below + ranks.at_most)).sum(1)
    pairs = ranks.count.sum(1) * ranks.negatives
    return nan_unless(ranks.valid & (pairs > 0), wins.double() / (2 * pairs))


METRIC = Metric(
    name="auc",
    version=1,
    function=auc,
    needs=("fixations",),
    higher_is_better=True,
    bounds=(0.0, 1.0),
    reference="Kuemmerer, Wallis & Bethge 2018 (Mann & Whitney 1947)",
    shares_ranks=True,
)
