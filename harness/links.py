"""Links: fixed pointwise functions, none falling, between a linear map and the saliency map; each map by itself.

A readout with another link than `identity` is a generalised linear one (Nelder & Wedderburn 1972), and named so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import softplus

from harness.z_scores import z_scores

if TYPE_CHECKING:
    from jaxtyping import Float

POWER = 1.5
"""Of the powered links where none is said; chosen on training folds of OSIE, fixed ever since."""


def linked(logits: Float[Tensor, "b h w"], link: str) -> Float[Tensor, "b h w"]:
    """The maps behind a link, as `known_link` has them."""
    if link in LINKS:
        return LINKS[link](logits)
    name, power = _parts(link)
    return POWERED[name](z_scores(logits)) ** power


def known_link(link: str) -> str:
    """The link itself, if it is one of LINKS, of POWERED, or one of those with a power of its own; raises ValueError.

    `softplus-1.25` is the softplus to the power 1.25, `softplus` to the power POWER.
    """
    name, power = _parts(link)
    if link not in LINKS and (name not in POWERED or not 0 < power < math.inf):
        choice = [*LINKS, *POWERED, *(f"{name}-POWER" for name in POWERED)]
        raise ValueError(f"there is no link {link!r}; choose {', '.join(choice)}")
    return link


def powered(link: str, power: float) -> str:
    """The name of a link with that power, if it is one that has any."""
    return link if link not in POWERED or power == POWER else f"{link}-{power:g}"


def _parts(link: str) -> tuple[str, float]:
    """A powered link's name and power; nan where that is no number."""
    name, given, power = link.partition("-")
    try:
        return name, float(power) if given else POWER
    except ValueError:
        return name, math.nan


def _exponentiated(logits: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    return torch.exp(logits - logits.amax(dim=(1, 2), keepdim=True))


LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda logits: logits,
    "exp": _exponentiated,
    "sigmoid": torch.sigmoid,
}
"""identity: none. exp: a density up to scale (softmax readouts), maximum 1. sigmoid: into 0..1."""

POWERED: dict[str, Callable[[Tensor], Tensor]] = {
    "rectified": lambda z: z.clamp(min=0),
    "softplus": softplus,
}
"""Of z-scores, to a power: gaze is absent from most of an image and dense on little of it. rectified: max(0, z), nobody
looks below the mean. softplus: log(1 + e^z), which keeps the order of places there, too."""
