"""What gradient-trained heads minimise: one number an image and map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

Loss = Literal["mse", "kl"]
START: dict[Loss, float] = {"mse": 1.0, "kl": 0.0}
"""Where a bias begins: the mean of every target, or logits of a uniform density."""


def mse(maps: Float[Tensor, "*n h w"], target: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Mean squared error per map; leading dimensions are broadcast."""
    return (maps - target).square().mean(dim=(-2, -1))


def kl(logits: Float[Tensor, "*n h w"], target: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """KL(target || softmax(logits)) in nats per map, target of mean 1; 0 for an image without gaze."""
    goal = target.flatten(-2) / (target.shape[-2] * target.shape[-1])
    cross: Tensor = (goal * torch.log_softmax(logits.flatten(-2), dim=-1)).sum(dim=-1)
    entropy: Tensor = torch.special.xlogy(goal, goal).sum(dim=-1)
    return entropy - cross


LOSSES = {"mse": mse, "kl": kl}
