"""What gradient-trained heads minimise: one number an image and map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

Loss = Literal["mse", "kl", "nll", "sigmoid-mse"]
Wanted = Literal["density", "fixations"]
START: dict[Loss, float] = {"mse": 1.0, "kl": 0.0, "nll": 0.0, "sigmoid-mse": 0.0}
"""Where a bias begins: the mean of every target, logits of a uniform density, or of a map of one half."""


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


def sigmoid_mse(logits: Float[Tensor, "*n h w"], target: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Mean squared error per map of sigmoid(logits) against the target over its maximum (0 where there is no gaze)."""
    highest = target.amax(dim=(-2, -1), keepdim=True)
    return mse(torch.sigmoid(logits), target / torch.where(highest > 0, highest, 1))


LOSSES = {"mse": mse, "kl": kl, "nll": nll, "sigmoid-mse": sigmoid_mse}
WANTED: dict[Loss, Wanted] = {"mse": "density", "kl": "density", "nll": "fixations", "sigmoid-mse": "density"}
"""What a loss compares maps with."""
LINKS: dict[Loss, str] = {"mse": "identity", "kl": "exp", "nll": "exp", "sigmoid-mse": "sigmoid"}
"""What a trained map goes through, as it does within the loss (see harness.readout.linked)."""
SOFTMAX: tuple[Loss, ...] = ("kl", "nll")
"""Losses of logits: they do not see a constant that is added to a map."""
