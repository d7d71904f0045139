"""Heads trained by mini-batch gradient descent, all side by side on one stream.

Heads share no parameter, so one summed loss trains each exactly as if it were alone, and the features are read once
forward and once backward for all of them. A head's mini-batches are cut by the images' turns in the pass: they depend
neither on the stream's batch size nor on the number of processes. The first pass measures each channel's mean and
scale; every following pass is an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness import distributed
from harness._head_groups import Group, LinearGroup, LinearHead, MapGroup, MapHead, Running, Training
from harness._probe import Consumer
from harness._stacked_maps import LinearStack, pooled
from harness.channel_scale import ChannelScale
from harness.losses import Wanted
from harness.types import Batch, Size

Targets = Mapping[tuple[Size, Wanted], Tensor]
__all__ = ["HeadBank", "LinearHead", "MapHead", "Running", "Training"]


class HeadBank(Consumer):
    """All gradient-trained heads of a backbone, whatever their mini-batches, losses and optimisers.

    There must be one only: with several processes the order of its steps is the same in all of them.
    """

    collective: ClassVar[bool] = True

    def __init__(self, n_images: int, device: torch.device) -> None:
        self.n_images, self.device = n_images, device
        self.scale = ChannelScale()
        self._linear: list[Running[LinearHead]] = []
        self._map: list[Running[MapHead]] = []
        self._groups: list[Group] = []
        self._epoch = 0
        self._start_pass()

    def add_linear(self, head: LinearHead, training: Training) -> Running[LinearHead]:
        """Train this head along with the others; call before the first batch."""
        self._linear.append(Running(head, training))
        return self._linear[-1]

    def add_map(self, head: MapHead, training: Training) -> Running[MapHead]:
        """The same for a head that predicts a whole map."""
        self._map.append(Running(head, training))
        return self._map[-1]

    def expected_bytes(self) -> int:
        """Weights, gradients and the optimiser's one or two moments, float32."""
        moments = {"adam": 2, "sgd": 1}
        runs: list[Running[LinearHead] | Running[MapHead]] = [*self._linear, *self._map]
        return sum(4 * (2 + moments[run.training.optimiser]) * run.head.parameters for run in runs)

    def sums(self) -> Sequence[MutableMapping[str, Tensor]]:
        """The channels' moments after the first pass; later passes add up what they learn at every step.

        Makes the steps that the other processes may still be waiting for.
        """
        if self._epoch == 0:
            return self.scale.sums()
        self._close(self.n_images)
        return ()

    def update(self, batch: Batch) -> None:
        """First pass: channel statistics. Later passes: forward, backward, and a step at each mini-batch's end."""
        if self._epoch == 0:
            self.scale.update(batch.features)
            return
        turns = batch.turns or tuple(range(self._seen, self._seen + len(batch)))
        if turns[0] < self._closed or turns[-1] >= self.n_images:
            raise ValueError(f"turns {turns} after {self._closed} of {self.n_images} images: out of turn")
        self._seen += len(batch)
        targets = _targets(batch, {group.target(batch.grid) for group in self._active})
        for start, stop in self._pieces(turns):
            self._close(turns[start])
            self._backward(
                {name: x[start:stop] for name, x in batch.features.items()},
                {wanted: target[start:stop] for wanted, target in targets.items()},
                batch.grid,
            )

    @property
    def in_step(self) -> bool:
        """In every pass but the first, which only adds up."""
        return self._epoch > 0

    def settle(self, turn: int) -> None:
        """Make the steps of the mini-batches that end before that turn."""
        if self._epoch:
            self._close(turn)

    def state(self) -> dict[str, Any]:
        """Scale, weights, gradients, optimisers, curves, and how far the epoch has come."""
        return {
            "epoch": self._epoch,
            "seen": self._seen,
            "closed": self._closed,
            "scale": [dict(mapping) for mapping in self.scale.sums()],
            "groups": [group.state() for group in self._groups],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`, for a bank with the same heads."""
        self.scale.restore(*state["scale"])
        for group, its in zip(self._groups, state["groups"], strict=True):
            group.restore(its)
        self._epoch = state["epoch"]
        self._start_pass()
        self._seen, self._closed = state["seen"], state["closed"]

    def end_pass(self) -> bool:
        """Close the epoch; True while some head has epochs left."""
        if self._epoch == 0:
            self._groups = self._make_groups()
        else:
            self._close(self.n_images)
            for group in self._active:
                group.end_epoch()
        self._epoch += 1
        self._start_pass()
        return bool(self._active)

    def _make_groups(self) -> list[Group]:
        alike: dict[Training, list[Running[LinearHead]]] = {}
        for run in self._linear:
            alike.setdefault(run.training, []).append(run)
        linear = [LinearGroup(runs, self.device) for runs in alike.values()]
        return [*linear, *(MapGroup(run, self.device) for run in self._map)]

    def _start_pass(self) -> None:
        self._seen = self._closed = 0
        self._active = [group for group in self._groups if self._epoch <= group.training.epochs]
        linear = [group for group in self._active if isinstance(group, LinearGroup)]
        self._maps = [group for group in self._active if isinstance(group, MapGroup)]
        self._stack = LinearStack(linear, self.scale, self.device)
        self._pooled_layers = list({layer: None for group in self._maps for layer in group.layers})

    def _pieces(self, turns: Sequence[int]) -> Iterator[tuple[int, int]]:
        """(start, stop) of the images between which no head makes a step."""
        rhythms = {group.training.images_per_step for group in self._active}
        cuts = [i for i, (a, b) in enumerate(pairwise(turns), 1) if any(a // step != b // step for step in rhythms)]
        return pairwise([0, *cuts, len(turns)])

    def _close(self, until: int) -> None:
        """Make, in the order of their last images, the steps of all mini-batches that end before turn `until`."""
        for end in range(self._closed + 1, until + 1):
            last = end == self.n_images
            due = [group for group in self._active if last or end % group.training.images_per_step == 0]
            if due:
                distributed.add_up([tensor for group in due for tensor in group.gathered()])
            for group in due:
                group.step(math.ceil(self.n_images / group.training.images_per_step))
        self._closed = until

    def _backward(self, features: Mapping[str, Tensor], targets: Targets, grid: Size) -> None:
        linear = zip(self._stack.groups, self._stack.maps(features, grid), strict=True)
        losses = [group.loss(maps, targets[group.target(grid)]) for group, maps in linear]
        averages = pooled(features, self._pooled_layers)
        losses += [group.loss(group.maps(averages, self.scale), targets[group.target(grid)]) for group in self._maps]
        if losses:
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]


def _targets(batch: Batch, wanted: Collection[tuple[Size, Wanted]]) -> Targets:
    """Each on its raster, mean 1 an image, float64."""
    made = {"density": batch.target, "fixations": batch.fixations_on}
    return {(size, kind): made[kind](size).double() for size, kind in wanted}
