"""Our training alone, and the obvious other way to the same readouts: a network pass per probe and epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.cells import Group
from harness.grid import no_finer_than, resize
from harness.losses import LOSSES
from harness.machine import stream_settings
from harness.plan import Plan
from harness.stream import Stream
from tests.benchmarks.forward import CPU, decoded, load, through
from tests.benchmarks.workload import EPOCHS, Job, measure, plan_for, sgd

MSE, BOTH = (sgd("mse"),), (sgd("mse", "kl"),)
LEARNING_RATE = 3e-3
Sets = dict[str, list[str]]
"""The layer sets of the matrix: label -> names of its layers."""


@dataclass(frozen=True)
class Peer:
    """What another way took; scaled up where it was measured on a part of the work."""

    seconds: float
    details: dict[str, Any]


def our_training(job: Job, probes: tuple[Any, ...], out: Path | None = None) -> float:
    """Seconds of our training passes and solving; a single held-out metric, as only the training is compared."""
    spans = measure(plan_for(job, probes, metrics=["cc"]), out).spans
    return spans["training"] + spans["solving"]


def layer_sets(plan: Plan) -> tuple[Group, Sets]:
    """The group that has a backbone, and its layer sets."""
    group = next(group for group in plan.groups if group.backbone is not None)
    return group, {cell.layer_set: [layer.name for layer in cell.layers] for cell in group.runnable}


def naive_loop(job: Job, measured: int) -> Peer:
    """Per probe and epoch a pass through the network, an nn.Conv2d 1x1 on top, Adam; one epoch on `measured` images.

    A probe's pass stops after its deepest layer and images are decoded beforehand, both in the loop's favour.
    """
    plan = plan_for(job, BOTH)
    group, sets = layer_sets(plan)
    settings = stream_settings(plan.recipe, plan.reader, CPU)
    backbone = load(group, settings)
    dataset = plan.reader.read("train")
    few = dataset.take(range(min(measured, len(dataset))))
    pixels = decoded(few, settings, backbone)
    targets = [batch.target() for batch in Stream(few, settings, CPU).batches()]
    through(pixels[0], settings, backbone, [layer.name for layer in group.layers])  # kernels are chosen
    channels = {layer.name: layer.channels for layer in group.layers}
    start, probes = time.perf_counter(), 0
    for names in sets.values():
        for loss in ("mse", "kl"):
            head = nn.Conv2d(sum(channels[name] for name in names), 1, 1)
            optimiser = torch.optim.Adam(head.parameters(), LEARNING_RATE)
            for x, target in zip(pixels, targets, strict=True):
                maps = head(concatenated(through(x, settings, backbone, names), target.shape[1:]))[:, 0]
                optimiser.zero_grad()
                LOSSES[loss](maps, target).mean().backward()  # type: ignore[operator,no-untyped-call]
                optimiser.step()
            probes += 1
    seconds = time.perf_counter() - start
    factor = EPOCHS * len(dataset) / len(few)
    return Peer(seconds * factor, {"probes": probes, "measured_images": len(few), "scaled_by": factor})


def concatenated(features: dict[str, Tensor], grid: Any) -> Tensor:
    """All layers on the fitting grid, side by side (b, c, gh, gw), float32."""
    size = tuple(grid)
    return torch.cat([resize(no_finer_than(x.float().clone(), size), size) for x in features.values()], dim=1)
