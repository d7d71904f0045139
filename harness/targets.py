"""What a readout is fitted to: an image's density on its fitting grid, as it is or so that all images weigh the same.

What CC rewards (densities) and what AUC rewards (square roots, whose peaks count less) can be mixed; a linear fit to
the mixture is the mixture of the fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from torch import Tensor, where

from harness.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float

TargetName = Literal["density", "standardised", "root"]
STANDARDISED, ROOT = "standardised", "root"


def target_map(target: str, batch: Batch) -> Float[Tensor, "b gh gw"]:
    """A batch's target: one of TARGETS or what `mixed` names; raises ValueError for anything else."""
    if target in TARGETS:
        return TARGETS[target](batch)
    share = _share(target)
    if not 0 < share < 1:
        raise ValueError(f"there is no target {target!r}; choose {', '.join(TARGETS)} or {STANDARDISED}-{ROOT}SHARE")
    return (1 - share) * standardised_target(batch) + share * root_target(batch)


def mixed(share: float) -> str:
    """The name of (1 - share) standardised + share root: `standardised-root0.125`."""
    return f"{_MIXED}{share}"


_MIXED = f"{STANDARDISED}-{ROOT}"


def _share(target: str) -> float:
    """Of what `mixed` names; nan for anything else."""
    try:
        return float(target.removeprefix(_MIXED)) if target.startswith(_MIXED) else math.nan
    except ValueError:
        return math.nan


def density_target(batch: Batch) -> Float[Tensor, "b gh gw"]:
    """The density, mean 1 an image."""
    return batch.target()


def standardised_target(batch: Batch) -> Float[Tensor, "b gh gw"]:
    """The density with mean 0 and standard deviation 1 an image: what CC rewards."""
    return _standardised(batch.target())


def root_target(batch: Batch) -> Float[Tensor, "b gh gw"]:
    """The density's square root, standardised in the same way: peaks count less, so that maps rank places better."""
    return _standardised(batch.target().sqrt())


def _standardised(maps: Float[Tensor, "b gh gw"]) -> Float[Tensor, "b gh gw"]:
    centred = maps - maps.mean(dim=(1, 2), keepdim=True)
    deviation = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return centred / where(deviation > 0, deviation, 1)


TARGETS: dict[str, Callable[[Batch], Tensor]] = {
    "density": density_target,
    STANDARDISED: standardised_target,
    ROOT: root_target,
}
