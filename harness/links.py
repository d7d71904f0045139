"""Links: fixed pointwise functions, none falling, between a linear map and the saliency map; each map by itself.

A readout with another link than `identity` is a generalised linear one (Nelder & Wedderburn 1972), and named so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

POWER = 1.5
"""Of the rectified link; chosen on training folds of OSIE, fixed ever since."""
RECTIFIED = "rectified"


def linked(logits: Float[Tensor, "b h w"], link: str) -> Float[Tensor, "b h w"]:
    """The maps behind a link, as `known_link` has them."""
    return _rectified(logits, _power(link)) if link not in LINKS else LINKS[link](logits)


def known_link(link: str) -> str:
    """The link itself, if it is one of LINKS or `rectified-P`, the same with another power; raises ValueError."""
    if link not in LINKS and not 0 < _power(link) < math.inf:
        raise ValueError(f"there is no link {link!r}; choose {', '.join(LINKS)} or {RECTIFIED}-POWER")
    return link


def _power(link: str) -> float:
    """Of `rectified-P`; nan for anything else."""
    name, _, power = link.partition("-")
    try:
        return float(power) if name == RECTIFIED else math.nan
    except ValueError:
        return math.nan


def rectified(power: float) -> str:
    """The name of max(0, z-score) ** power."""
    return RECTIFIED if power == POWER else f"{RECTIFIED}-{power:g}"


def _exponentiated(logits: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    return torch.exp(logits - logits.amax(dim=(1, 2), keepdim=True))


def _rectified(logits: Float[Tensor, "b h w"], power: float = POWER) -> Float[Tensor, "b h w"]:
    centred = logits - logits.mean(dim=(1, 2), keepdim=True)
    deviation = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return (centred / torch.where(deviation > 0, deviation, 1)).clamp(min=0) ** power


LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda logits: logits,
    "exp": _exponentiated,
    RECTIFIED: _rectified,
    "sigmoid": torch.sigmoid,
}
"""identity: none. exp: a density up to scale (softmax readouts), maximum 1. rectified: max(0, z-score) ** POWER: gaze
is absent from most of an image and dense on little of it. sigmoid: into 0..1."""
