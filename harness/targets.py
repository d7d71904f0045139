"""What a readout is fitted to: an image's density on its fitting grid, as it is or so that all images weigh the same.

What CC rewards (densities) and what AUC rewards (square roots, whose peaks count less) can be mixed; a linear fit to
the mixture is the mixture of the fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from harness.types import Batch
from harness.z_scores import z_scores

if TYPE_CHECKING:
    from jaxtyping import Float

TargetName = Literal["density", "standardised", "root"]
STANDARDISED, ROOT = "standardised", "root"
_MIXED = f"{STANDARDISED}-{ROOT}"


def target_map(target: str, batch: Batch) -> Float[Tensor, "b gh gw"]:
    """A batch's target: one of TARGETS or what `mixed` names; raises ValueError for anything else."""
    if target in TARGETS:
        return TARGETS[target](batch.target())
    share = _share(target)
    if not 0 < share < 1:
        raise ValueError(f"there is no target {target!r}; choose {', '.join(TARGETS)} or {_MIXED}SHARE")
    density = batch.target()
    return (1 - share) * TARGETS[STANDARDISED](density) + share * TARGETS[ROOT](density)


def mixed(share: float) -> str:
    """The name of (1 - share) standardised + share root: `standardised-root0.125`."""
    return f"{_MIXED}{share}"


def _share(target: str) -> float:
    """Of what `mixed` names; nan for anything else."""
    try:
        return float(target.removeprefix(_MIXED)) if target.startswith(_MIXED) else math.nan
    except ValueError:
        return math.nan


TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    "density": lambda density: density,
    STANDARDISED: z_scores,
    ROOT: lambda density: z_scores(density.sqrt()),
}
"""Of densities with mean 1 an image. standardised: mean 0 and standard deviation 1 an image, what CC rewards. root: the
square root so, whose peaks count less, so that maps rank places better."""
