"""What every gradient-trained probe lets a recipe choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from harness import Context
from harness.flags import UNCONVERGED, flag
from harness.heads import HeadBank, LinearHead, MapHead, Running, Training
from harness.losses import LINKS, Loss

STILL_FALLING = 0.01
"""Of what the loss has fallen since the first step: below it ResNet-50's heads gain no more CC on OSIE."""
STANDING = 0.001
"""Of the loss itself: smaller changes are noise, of a head that has nothing to learn."""


@dataclass(frozen=True, kw_only=True)
class GradientSettings:
    """The fields that describe mini-batch training."""

    loss: Loss = "mse"
    """mse: squared error of the density (mean 1 an image). kl: KL(density || softmax of the map), in nats. nll: mean
    negative log-likelihood of a fixation under the softmax, as the linear layer of DeepGaze I is trained. sigmoid-mse:
    squared error of the map's sigmoid against the density over its maximum."""
    epochs: int = 10
    """Passes over the training images, after the one that measures the features' scale."""
    learning_rate: float = 3e-3
    """At the start; it falls to zero along a cosine."""
    images_per_step: int = 8
    """Images in a mini-batch, whatever the stream's batch size is."""
    weight_decay: float = 0.0
    """L2 penalty on standardised weights, as the optimiser applies it."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """Adam (Kingma & Ba 2015), or SGD with momentum 0.9."""

    @property
    def revision(self) -> int:
        """2: intercepts do not decay."""
        return 2 if self.weight_decay else 1

    def __post_init__(self) -> None:
        for field in ("epochs", "learning_rate", "images_per_step"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{field} must be positive, not {getattr(self, field)}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, not {self.weight_decay}")

    def training(self) -> Training:
        """The engine's form of these settings."""
        return Training(
            self.loss,
            self.epochs,
            self.learning_rate,
            self.images_per_step,
            self.weight_decay,
            self.optimiser,
        )


def shared_bank(context: Context) -> HeadBank:
    """The backbone's one bank: all its heads read the features together."""
    return context.shared("heads", lambda: HeadBank(context.n_images, context.device))


def raw_units(bank: HeadBank, run: Running[LinearHead] | Running[MapHead]) -> tuple[dict[str, Tensor], Tensor]:
    """(weights per layer, bias) of a trained head for features that are not standardised; raises if it diverged."""
    weights, bias = dict(run.weights), run.bias.double()
    for name, weight in run.weights.items() if run.head.standardised else ():
        mean, scale = (t.double() for t in bank.scale.of(name))
        raw = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
        bias = bias - torch.tensordot(mean, raw, dims=1)
        weights[name] = raw.float()
    if not all(torch.isfinite(t).all() for t in (bias, *weights.values())):
        raise FloatingPointError("training diverged (non-finite weights): lower learning_rate")
    return weights, bias


def link(settings: GradientSettings) -> str:
    """What a trained map goes through, as it did within its loss."""
    return LINKS[settings.loss]


def training_info(run: Running[LinearHead] | Running[MapHead]) -> dict[str, Any]:
    """The loss curves as they are saved with a readout; flags a head that has not converged."""
    info = {
        "loss": run.training.loss,
        "epoch_loss": [float(f"{x:.6g}") for x in run.epoch_loss],
        "step_loss": [float(f"{x:.6g}") for x in run.step_loss],
    }
    if words := unconverged(run.epoch_loss, run.step_loss[0]):
        flag(info, UNCONVERGED, words)
    return info


def unconverged(epoch_loss: Sequence[float], first_step: float) -> str:
    """Why a head is not known to have converged; empty where it has.

    It has where its last epoch changed the mean loss by at most 1 % of all that it had fallen since the first step, or
    by at most 0.1 % of itself.
    """
    if len(epoch_loss) < 2:
        return "whether it has converged cannot be told after a single epoch: raise epochs"
    before, last = epoch_loss[-2:]
    change, fallen = before - last, abs(first_step - last)
    if abs(change) <= max(STILL_FALLING * fallen, STANDING * abs(last)):
        return ""
    verb = "fell" if change > 0 else "rose"
    share = f"{abs(change) / fallen:.0%} of all its fall" if fallen else f"{abs(change):.3g}"
    return f"not converged: in the last of {len(epoch_loss)} epochs the loss still {verb} by {share}; raise epochs"
