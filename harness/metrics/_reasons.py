"""Why an image has no score, in words for the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from harness.metrics._batch import extent, finite
from harness.metrics._inputs import density_of, fixated_pixels_of, prediction_of
from harness.metrics._maps import Density, FixationCounts

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

NEED_DENSITY = ("cc", "sim", "kld", "auc_map", "mse")
NEED_CONTRAST = ("cc", "sim", "auc_map", "mse")


def why_unscored(
    name: str,
    prediction: Float[Tensor, "b h w"],
    fixations: FixationCounts | Int[Tensor, "b h w"] | None = None,
    density: Density | Float[Tensor, "b h w"] | None = None,
) -> list[str | None]:
    """For each image the reason why the metric of that name is nan there, None where it is not.

    A metric that is not built in is taken to need fixations.
    """
    maps = prediction_of(prediction)
    causes = [("NaN or infinity in the prediction", ~finite(maps.flatten(1)))]
    if name not in NEED_DENSITY and fixations is not None:
        causes.append(("no fixations", fixated_pixels_of(fixations, maps).total == 0))
    if name in NEED_DENSITY and density is not None:
        truth = density_of(density, maps)
        causes.append(("NaN or infinity in the ground truth", ~finite(truth.flatten(1))))
        if name in NEED_CONTRAST:
            causes.append(("constant ground truth", constant(truth)))
    if name == "sim":
        causes.append(("constant prediction", constant(maps)))
    known = [(words, applies.tolist()) for words, applies in causes]
    return [_first(known, i) for i in range(len(maps))]


def constant(maps: Float[Tensor, "b h w"]) -> Bool[Tensor, " b"]:
    """Whether a map has one value everywhere (cc and nss are then 0, the AUCs 0.5, sim is nan)."""
    low, high = extent(maps.flatten(1))
    return (low == high)[:, 0]


def _first(causes: list[tuple[str, list[bool]]], image: int) -> str | None:
    return next((words for words, applies in causes if applies[image]), None)
