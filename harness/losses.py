"""What gradient-trained heads minimise: one number an image and map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

Loss = Literal["mse", "kl", "nll"]
Wanted = Literal["density", "fixations"]
START: dict[Loss, float] = {"mse": 1.0, "kl": 0.0, "nll": 0.0}
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


def nll(logits: Float[Tensor, "*n h w"], target: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Mean negative log-likelihood of a fixation under softmax(logits), in nats; target: fixations of mean 1.

    What the linear layer of DeepGaze I is trained by (Kümmerer, Theis & Bethge 2015); 0 for an image without gaze.
    """
    share = target.flatten(-2) / (target.shape[-2] * target.shape[-1])
    likelihood: Tensor = (share * torch.log_softmax(logits.flatten(-2), dim=-1)).sum(dim=-1)
    return -likelihood


LOSSES = {"mse": mse, "kl": kl, "nll": nll}
WANTED: dict[Loss, Wanted] = {"mse": "density", "kl": "density", "nll": "fixations"}
"""What a loss compares maps with."""
SOFTMAX: tuple[Loss, ...] = ("kl", "nll")
"""Losses of logits: they do not see a constant that is added to a map."""
