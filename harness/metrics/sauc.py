"""sAUC: AUC with the fixations of other images as negatives, so that a centre bias earns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from harness.metrics._maps import FixationCounts
from harness.metrics._ranks import rank_among
from harness.metrics._record import Metric
from harness.metrics.auc import mann_whitney

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def sauc(
    prediction: Float[Tensor, "b h w"],
    fixations: FixationCounts | Int[Tensor, "b h w"],
    nonfixations: FixationCounts | Int[Tensor, "b h w"],
) -> Float[Tensor, " b"]:
    """P(fixation > other images' fixation) + P(tie) / 2, every one of both counted; no sampling.

    nan without a fixation, without a non-fixation, and for a map that holds NaN or infinity anywhere.
    """
    return mann_whitney(rank_among(prediction, fixations, nonfixations))


METRIC = Metric(
    name="sauc",
    version=1,
    function=sauc,
    needs=("fixations", "nonfixations"),
    higher_is_better=True,
    bounds=(0.0, 1.0),
    reference="Tatler, Baddeley & Gilchrist 2005; Zhang et al. 2008",
)
