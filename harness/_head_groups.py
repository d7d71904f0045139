"""Heads of one kind, loss and schedule in one set of stacked parameters, with an optimiser of their own.

Heads share no parameter and the optimisers work element by element, so a row of a stacked matrix is trained exactly as
if it were alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor

from harness.channel_scale import ChannelScale
from harness.losses import LOSSES, SOFTMAX, START, WANTED, Loss, Wanted
from harness.types import LayerSpec, Size

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Training:
    """How a head is trained. The learning rate falls to zero along a cosine over all steps."""

    loss: Loss
    epochs: int
    learning_rate: float
    images_per_step: int
    weight_decay: float
    optimiser: Literal["adam", "sgd"]


@dataclass(frozen=True)
class LinearHead:
    """sum_l U_l (X_l w_l) + bias: the same 1x1 readout at every position."""

    layers: tuple[LayerSpec, ...]
    standardised: ClassVar[bool] = True

    @property
    def parameters(self) -> int:
        """How many numbers it learns."""
        return sum(layer.channels for layer in self.layers) + 1


@dataclass(frozen=True)
class MapHead:
    """bias + W' gap(X): a whole map of `grid` cells from globally pooled features."""

    layers: tuple[LayerSpec, ...]
    grid: Size
    standardised: bool = True
    """Whether it learns weights of standardised channels, or of the channels as they are."""

    @property
    def parameters(self) -> int:
        """How many numbers it learns."""
        return (sum(layer.channels for layer in self.layers) + 1) * self.grid[0] * self.grid[1]


H = TypeVar("H", LinearHead, MapHead, covariant=True)


@dataclass
class Running(Generic[H]):
    """A head on its way: its settings, its parameters for the features as it sees them, its loss, epoch by epoch."""

    head: H
    training: Training
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Per layer, (c,) or (c, gh, gw); there from the end of the first pass, and then trained in place."""
    bias: Tensor = field(default_factory=lambda: torch.zeros(()))
    step_loss: list[float] = field(default_factory=list)
    epoch_loss: list[float] = field(default_factory=list)


class Group(ABC):
    """Some heads that are trained alike: one loss, one schedule, one optimiser."""

    parameters: list[Tensor]

    def __init__(self, runs: Sequence[Running[LinearHead] | Running[MapHead]], device: torch.device) -> None:
        self.runs, self.training, self.device = runs, runs[0].training, device
        self._steps = 0
        self._curve: list[Tensor] = []
        self._loss = self._no_loss()

    @abstractmethod
    def size(self, grid: Size) -> Size:
        """The raster of its maps for images with that fitting grid."""

    def target(self, grid: Size) -> tuple[Size, Wanted]:
        """What its maps are compared with for images with that fitting grid."""
        return self.size(grid), WANTED[self.training.loss]

    def loss(self, maps: Float[Tensor, "b heads h w"], target: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
        """What to differentiate: these images' share in the mini-batch's loss, all heads together."""
        per_head = LOSSES[self.training.loss](maps, target[:, None]).sum(0) / self.training.images_per_step
        self._loss[:-1] += per_head.detach()
        self._loss[-1] += len(maps)
        return per_head.sum()

    def gathered(self) -> list[Tensor]:
        """What this process knows of the current mini-batch: gradients, losses. Sum it over processes in place."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [*(parameter.grad for parameter in self.parameters if parameter.grad is not None), self._loss]

    def step(self, steps_per_epoch: int) -> None:
        """Close the mini-batch."""
        progress = self._steps / (steps_per_epoch * self.training.epochs)
        for group in self._optimiser.param_groups:
            group["lr"] = self.training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._steps += 1
        self._curve.append(self._loss)
        self._loss = self._no_loss()

    def end_epoch(self) -> None:
        """Tell the heads their mean losses, by step and by epoch; only now do they leave the device."""
        *heads, images = torch.stack(self._curve).T.tolist()
        for run, steps in zip(self.runs, heads, strict=True):
            sums = [loss * self.training.images_per_step for loss in steps]
            run.step_loss.extend(loss / max(n, 1) for loss, n in zip(sums, images, strict=True))
            run.epoch_loss.append(sum(sums) / max(sum(images), 1))
        self._curve = []

    def state(self) -> dict[str, Any]:
        """All that training changes, JSON-able but for tensors."""
        return {
            "parameters": [parameter.detach() for parameter in self.parameters],
            "gradients": [parameter.grad for parameter in self.parameters],
            "optimiser": self._optimiser.state_dict(),
            "steps": self._steps,
            "loss": self._loss,
            "curve": self._curve,
            "curves": [(run.step_loss, run.epoch_loss) for run in self.runs],
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`; ValueError for a group of other heads."""
        for parameter, saved, gradient in zip(self.parameters, state["parameters"], state["gradients"], strict=True):
            if parameter.shape != saved.shape:
                raise ValueError(f"parameters of {tuple(saved.shape)} for heads of {tuple(parameter.shape)}")
            parameter.copy_(saved)  # in place: the heads' own weights are views
            parameter.grad = gradient
        self._optimiser.load_state_dict(state["optimiser"])
        self._steps, self._loss, self._curve = state["steps"], state["loss"], list(state["curve"])
        for run, (steps, epochs) in zip(self.runs, state["curves"], strict=True):
            run.step_loss, run.epoch_loss = list(steps), list(epochs)

    def _start(self, weights: list[Tensor], intercepts: list[Tensor]) -> None:
        """Weights may decay; an intercept, which for a map head is the centre bias itself, never does."""
        self.parameters = [parameter.requires_grad_() for parameter in (*weights, *intercepts)]
        apart: list[dict[str, Any]] = [
            {"params": weights},
            *([{"params": intercepts, "weight_decay": 0.0}] if intercepts else []),
        ]
        lr, decay = self.training.learning_rate, self.training.weight_decay
        fused = self.device.type in ("cpu", "cuda")
        self._optimiser: torch.optim.Optimizer
        if self.training.optimiser == "adam":
            self._optimiser = torch.optim.Adam(apart, lr, weight_decay=decay, fused=fused)
        else:
            self._optimiser = torch.optim.SGD(apart, lr, momentum=0.9, weight_decay=decay, fused=fused)

    def _no_loss(self) -> Tensor:
        """A loss for each head, then the number of images."""
        return torch.zeros(len(self.runs) + 1, device=self.device)


class LinearGroup(Group):
    """1x1 readouts: per layer a matrix with a row for each head that reads it."""

    def __init__(self, runs: Sequence[Running[LinearHead]], device: torch.device) -> None:
        super().__init__(runs, device)
        self.weights: dict[str, Tensor] = {}
        self.rows: dict[str, list[int]] = {}
        for layer in {layer: None for run in runs for layer in run.head.layers}:
            self.rows[layer.name] = [row for row, run in enumerate(runs) if layer in run.head.layers]
            # the problem is convex: zeros are as good a start as any and need no random draw
            self.weights[layer.name] = torch.zeros(len(self.rows[layer.name]), layer.channels, device=device)
        self.bias = torch.full((len(runs),), START[self.training.loss], device=device)
        # a softmax does not see a common bias: left free, Adam would walk it on rounding noise
        free = [] if self.training.loss in SOFTMAX else [self.bias]
        self._start([*self.weights.values()], free)
        for row, run in enumerate(runs):
            run.bias = self.bias.detach()[row]
            run.weights = {
                layer.name: self.weights[layer.name].detach()[self.rows[layer.name].index(row)]
                for layer in run.head.layers
            }

    def size(self, grid: Size) -> Size:
        """The fitting grid."""
        return grid


class MapGroup(Group):
    """One map head: a matrix from the pooled channels of all its layers to the cells of its raster."""

    def __init__(self, run: Running[MapHead], device: torch.device) -> None:
        super().__init__([run], device)
        self.grid, self.standardised = run.head.grid, run.head.standardised
        self.layers = tuple(layer.name for layer in run.head.layers)
        channels = [layer.channels for layer in run.head.layers]
        cells = self.grid[0] * self.grid[1]
        self.weight = torch.zeros(sum(channels), cells, device=device)
        self.bias = torch.full((cells,), START[self.training.loss], device=device)
        self._start([self.weight], [self.bias])
        run.bias = self.bias.detach().view(self.grid)
        parts = torch.split(self.weight.detach(), channels)
        run.weights = {name: part.view(-1, *self.grid) for name, part in zip(self.layers, parts, strict=True)}

    def size(self, grid: Size) -> Size:
        """Its own raster, whatever the fitting grid."""
        return self.grid

    def maps(self, pooled: Mapping[str, Float[Tensor, "b c"]], scale: ChannelScale) -> Float[Tensor, "b 1 gh gw"]:
        """One product for all layers; float64, as the other maps are."""
        found = {name: pooled[name] for name in self.layers}
        if self.standardised:
            found = {name: (x - scale.of(name)[0]) * scale.of(name)[1] for name, x in found.items()}
        inputs = torch.cat(list(found.values()), dim=1)
        return torch.addmm(self.bias, inputs, self.weight).double().view(-1, 1, *self.grid)
