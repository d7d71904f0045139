"""Heads trained by mini-batch gradient descent, all side by side on one stream.

Heads share no parameter, so one summed loss and one optimiser with a parameter group a head trains each exactly as if
it were alone. A head's mini-batch is counted in images and does not depend on the stream's batch size. The first pass
measures each channel's mean and scale; every following pass is an epoch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from harness._probe import Consumer
from harness.grid import resize
from harness.types import Batch, LayerSpec, Size

if TYPE_CHECKING:
    from jaxtyping import Float

Loss = Literal["mse", "kl"]
START = {"mse": 1.0, "kl": 0.0}
"""Where a bias begins: the mean of every target, or logits of a uniform density."""


@dataclass(frozen=True)
class Training:
    """How a head is trained. The learning rate falls to zero along a cosine over all steps."""

    loss: Loss
    epochs: int
    learning_rate: float
    images_per_step: int
    weight_decay: float
    optimiser: Literal["adam", "sgd"]


class Head(nn.Module):
    """Standardised features -> maps on a grid."""

    grid: Size | None = None
    """The raster of the maps; None means the batch's fitting grid."""
    weights: nn.ParameterList
    bias: nn.Parameter

    @abstractmethod
    def forward(self, features: Mapping[str, Float[Tensor, "b c h w"]], grid: Size) -> Float[Tensor, "b gh gw"]:
        """Logits (kl) or values (mse)."""


class LinearHead(Head):
    """sum_l U_l (X_l w_l) + bias: the same 1x1 readout at every position."""

    def __init__(self, layers: tuple[LayerSpec, ...], device: torch.device, loss: Loss) -> None:
        super().__init__()
        # the problem is convex: zeros are as good a start as any and need no random draw
        self.weights = nn.ParameterList(torch.zeros(layer.channels, device=device) for layer in layers)
        # a softmax does not see a common bias: left free, Adam would walk it on rounding noise
        self.bias = nn.Parameter(torch.full((), START[loss], device=device), requires_grad=loss != "kl")
        self.names = tuple(layer.name for layer in layers)

    def forward(self, features: Mapping[str, Float[Tensor, "b c h w"]], grid: Size) -> Float[Tensor, "b gh gw"]:
        """Weights on each layer's own grid, then single-channel maps to the fitting grid."""
        total: Tensor = self.bias
        for name, weight in zip(self.names, self.weights, strict=True):
            total = total + resize(torch.einsum("bchw,c->bhw", features[name], weight), grid)
        return total


class MapHead(Head):
    """bias + W' gap(X): a whole map from globally pooled features."""

    def __init__(self, layers: tuple[LayerSpec, ...], grid: Size, device: torch.device, loss: Loss) -> None:
        super().__init__()
        self.grid = grid
        self.weights = nn.ParameterList(torch.zeros(layer.channels, *grid, device=device) for layer in layers)
        self.bias = nn.Parameter(torch.full(grid, START[loss], device=device))
        self.names = tuple(layer.name for layer in layers)

    def forward(self, features: Mapping[str, Float[Tensor, "b c h w"]], grid: Size) -> Float[Tensor, "b gh gw"]:
        """Pool, then one product a layer."""
        total = self.bias[None]
        for name, weight in zip(self.names, self.weights, strict=True):
            total = total + torch.einsum("bc,chw->bhw", features[name].mean(dim=(2, 3)), weight)
        return total


@dataclass
class Running:
    """A head on its way: its settings and its loss so far."""

    head: Head
    training: Training
    step_loss: list[float] = field(default_factory=list)
    epoch_loss: list[float] = field(default_factory=list)


class HeadBank(Consumer):
    """All gradient-trained heads of a backbone that step after the same number of images with the same optimiser."""

    def __init__(self, n_images: int, device: torch.device) -> None:
        self.n_images = n_images
        self.scale = ChannelScale(device)
        self.running: list[Running] = []
        self._optimiser: torch.optim.Optimizer | None = None
        self._epoch = 0
        self._seen = 0
        self._losses: list[Tensor] = []

    def add(self, head: Head, training: Training) -> Running:
        """Train this head along with the others; call before the first batch."""
        self.running.append(Running(head, training))
        return self.running[-1]

    def expected_bytes(self) -> int:
        """Weights, gradients and the optimiser's two moments, float32."""
        return 16 * sum(p.numel() for run in self.running for p in run.head.parameters())

    def update(self, batch: Batch) -> None:
        """First pass: channel statistics. Later passes: forward, backward, and a step at each mini-batch's end."""
        if self._epoch == 0:
            self.scale.update(batch)
            return
        start = 0
        per_step = self.running[0].training.images_per_step
        while start < len(batch):
            stop = min(len(batch), start + per_step - self._seen % per_step)
            self._backward(batch if stop - start == len(batch) else batch.take(range(start, stop)))
            self._seen += stop - start
            start = stop
            if self._seen % per_step == 0:
                self._step()

    def end_pass(self) -> bool:
        """Close the epoch; True while some head has epochs left."""
        if self._epoch == 0:
            self._optimiser = self._make_optimiser()
        else:
            self._finish_epoch()
        self._epoch += 1
        self._seen = 0
        return bool(self._training_now())

    def _finish_epoch(self) -> None:
        if self._losses:  # a last, smaller mini-batch
            self._step()
        for run in self._training_now():
            per_step = run.training.images_per_step
            steps = math.ceil(self._seen / per_step)
            run.epoch_loss.append(sum(run.step_loss[-steps:]) * per_step / max(self._seen, 1))

    def _training_now(self) -> list[Running]:
        return [run for run in self.running if self._epoch <= run.training.epochs]

    def _make_optimiser(self) -> torch.optim.Optimizer:
        groups = [
            {
                "params": list(run.head.parameters()),
                "lr": run.training.learning_rate,
                "weight_decay": run.training.weight_decay,
            }
            for run in self.running
        ]
        if self.running[0].training.optimiser == "adam":
            return torch.optim.Adam(groups)
        return torch.optim.SGD(groups, momentum=0.9)

    def _backward(self, batch: Batch) -> None:
        features = self.scale.standardised(batch)
        targets = {size: batch.target(size) for size in {run.head.grid or batch.grid for run in self.running}}
        losses = []
        for run in self._training_now():
            size = run.head.grid or batch.grid
            per_image = LOSSES[run.training.loss](run.head(features, size), targets[size])
            losses.append(per_image.sum() / run.training.images_per_step)
        stacked = torch.stack(losses)
        stacked.sum().backward()  # type: ignore[no-untyped-call]
        self._losses.append(stacked.detach())

    def _step(self) -> None:
        assert self._optimiser is not None
        now = self._training_now()
        for run, group in zip(self.running, self._optimiser.param_groups, strict=True):
            steps = run.training.epochs * math.ceil(self.n_images / run.training.images_per_step)
            group["lr"] = run.training.learning_rate * 0.5 * (1 + math.cos(math.pi * len(run.step_loss) / steps))
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        for run, loss in zip(now, torch.stack(self._losses).sum(0).tolist(), strict=True):
            run.step_loss.append(loss)
        self._losses = []


class ChannelScale:
    """Streamed mean and standard deviation of every channel, in float64."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, Tensor] = {}
        self._n: dict[str, int] = {}
        self._cached: dict[str, tuple[Tensor, Tensor]] = {}

    def update(self, batch: Batch) -> None:
        """Add a batch."""
        for name, x in batch.features.items():
            values = x.double()
            sums = torch.stack([values.sum(dim=(0, 2, 3)), values.square().sum(dim=(0, 2, 3))])
            self._sums[name] = self._sums[name] + sums if name in self._sums else sums
            self._n[name] = self._n.get(name, 0) + x.shape[0] * x.shape[2] * x.shape[3]

    def of(self, layer: str) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """(mean, 1/std) of a layer's channels; 0 for the scale of a dead channel."""
        if layer not in self._cached:
            first, second = self._sums[layer] / self._n[layer]
            variance = second - first**2
            alive = variance > 1e-10 * second
            scale = torch.where(alive, variance.clamp(min=1e-300).rsqrt(), 0.0)
            self._cached[layer] = (first.float(), scale.float())
        return self._cached[layer]

    def standardised(self, batch: Batch) -> dict[str, Tensor]:
        """The batch's features with mean 0 and standard deviation 1 a channel."""
        result = {}
        for name, x in batch.features.items():
            mean, scale = self.of(name)
            result[name] = (x.float() - mean[:, None, None]) * scale[:, None, None]
        return result


def mse(maps: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """Mean squared error per image."""
    return (maps - target).square().mean(dim=(1, 2))


def kl(logits: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """KL(target || softmax(logits)) in nats per image; 0 for an image without gaze."""
    goal = target.flatten(1) / target.shape[1] / target.shape[2]
    pointwise: Tensor = torch.special.xlogy(goal, goal) - goal * torch.log_softmax(logits.flatten(1), dim=1)
    return pointwise.sum(dim=1)


LOSSES = {"mse": mse, "kl": kl}
