"""The plain way to train one head: standardised copies, one image at a time, float64, nothing shared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from harness import distributed
from harness.grid import resize
from harness.heads import HeadBank, LinearHead, MapHead, Running, Training
from harness.types import Batch, Points
from tests.harness.batches import LAYERS

SIZES = {"wide": ((48, 64), (6, 8)), "tall": ((64, 48), (8, 6))}


def image(id_: int, dtype: torch.dtype = torch.float32, offset: float = 0.0) -> Batch:
    """One image drawn from its id; every third is upright. The coarse layer is half as fine as the fitting grid."""
    size, grid = SIZES["tall" if id_ % 3 == 2 else "wide"]
    rng = np.random.default_rng(id_)
    features = {}
    for layer, factor in zip(LAYERS, (1, 2), strict=True):
        shape = (1, layer.channels, grid[0] // factor, grid[1] // factor)
        features[layer.name] = (torch.from_numpy(rng.gamma(1.0, 1.5, shape)).float() + offset).to(dtype)
    features["fine"][:, 0] = 0.5  # a dead channel
    row, col = rng.integers(0, size[0], 12), rng.integers(0, size[1], 12)
    points = Points(row.astype(np.int32), col.astype(np.int32), np.zeros(12, np.int32))
    return Batch((id_,), size, grid, (points,), features, (0,), sigma=3.0, turns=(id_,))


def together(images: Sequence[Batch]) -> Batch:
    """One batch of images of one size."""
    features = {name: torch.cat([i.features[name] for i in images]) for name in images[0].features}
    return replace(
        images[0],
        ids=tuple(i.ids[0] for i in images),
        points=tuple(i.points[0] for i in images),
        folds=(0,) * len(images),
        turns=tuple(i.turns[0] for i in images),
        features=features,
    )


def batches(images: Iterable[Batch], at_most: int) -> list[Batch]:
    """The images in this order; neighbours of one size stay together."""
    result: list[list[Batch]] = []
    for one in images:
        if result and len(result[-1]) < at_most and result[-1][0].size == one.size:
            result[-1].append(one)
        else:
            result.append([one])
    return [together(several) for several in result]


def train(bank: HeadBank, stream: Sequence[Batch]) -> int:
    """The bank's passes until it asks for no more."""
    passes, again = 0, True
    while again:
        for batch in stream:
            bank.update(batch)
        distributed.add_up_mappings(bank.sums(), torch.device("cpu"))
        again = bank.end_pass()
        passes += 1
    return passes


def add(bank: HeadBank, head: LinearHead | MapHead, training: Training) -> Running[LinearHead] | Running[MapHead]:
    """To the bank by the head's own door."""
    return bank.add_linear(head, training) if isinstance(head, LinearHead) else bank.add_map(head, training)


@dataclass
class Plain:
    """What plain training comes to."""

    weights: dict[str, Tensor]
    bias: Tensor
    step_loss: list[float] = field(default_factory=list)
    epoch_loss: list[float] = field(default_factory=list)


def standardised(images: Sequence[Batch], name: str, head: LinearHead | MapHead) -> list[Tensor]:
    maps = [i.features[name].double() for i in images]
    if not head.standardised:
        return maps
    columns = torch.cat([m.flatten(2)[0] for m in maps], dim=1)
    mean, std = columns.mean(1)[:, None, None], columns.std(1, correction=0)[:, None, None]
    return [torch.where(std > 1e-6, (m - mean) / std.clamp(min=1e-6), 0.0) for m in maps]


def plain_training(head: LinearHead | MapHead, training: Training, images: Sequence[Batch], n_images: int) -> Plain:
    """One head by itself; an image that is missing among the turns leaves its mini-batch smaller."""
    inputs = {layer.name: standardised(images, layer.name, head) for layer in head.layers}
    grid = head.grid if isinstance(head, MapHead) else ()
    weights = {layer.name: torch.zeros(layer.channels, *grid, dtype=torch.float64) for layer in head.layers}
    bias = torch.full(grid, 1.0 if training.loss == "mse" else 0.0, dtype=torch.float64)
    result = Plain(weights, bias)
    learnt = [*weights.values(), bias] if grid or training.loss in ("mse", "sigmoid-mse") else [*weights.values()]
    for parameter in learnt:
        parameter.requires_grad_()
    kind = torch.optim.Adam if training.optimiser == "adam" else lambda *a, **k: torch.optim.SGD(*a, momentum=0.9, **k)
    optimiser = kind(learnt, lr=1.0)
    steps = math.ceil(n_images / training.images_per_step)
    for epoch in range(training.epochs):
        seen: list[float] = []
        for step in range(steps):
            for parameter in learnt:
                parameter.grad = torch.zeros_like(parameter)
            losses = []
            for index, one in enumerate(images):
                if one.turns[0] // training.images_per_step != step:
                    continue
                loss = one_loss(head, training, {n: x[index] for n, x in inputs.items()}, result, one)
                (loss / training.images_per_step).backward()
                losses.append(loss.item())
            progress = (epoch * steps + step) / (steps * training.epochs)
            optimiser.param_groups[0]["lr"] = training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
            with torch.no_grad():  # L2 by hand, on the weights alone
                for weight in weights.values():
                    assert weight.grad is not None
                    weight.grad += training.weight_decay * weight
            optimiser.step()
            seen += losses
            result.step_loss.append(sum(losses) / max(len(losses), 1))
        result.epoch_loss.append(sum(seen) / len(images))
    return result


def one_loss(
    head: LinearHead | MapHead, training: Training, inputs: dict[str, Tensor], now: Plain, one: Batch
) -> Tensor:
    size = head.grid if isinstance(head, MapHead) else one.grid
    maps = now.bias.expand(size)
    for name, x in inputs.items():
        if isinstance(head, MapHead):
            maps = maps + torch.einsum("c,chw->hw", x[0].mean((1, 2)), now.weights[name])
        else:
            maps = maps + torch.einsum("chw,c->hw", resize(x[0], size), now.weights[name])
    if training.loss == "nll":
        return fixation_by_fixation(maps, one)
    target = one.target(size)[0].double()
    if training.loss == "mse":
        return torch.nn.functional.mse_loss(maps, target)
    if training.loss == "sigmoid-mse":
        return torch.nn.functional.mse_loss(torch.sigmoid(maps), target / target.max())
    goal = target.flatten() / target.numel()
    return torch.nn.functional.kl_div(maps.flatten().log_softmax(0), goal, reduction="sum")


def fixation_by_fixation(logits: Tensor, one: Batch) -> Tensor:
    """The mean of -log p over the fixations, each looked up in the cell it falls on."""
    points, (height, width) = one.points[0], logits.shape
    log_p = logits.flatten().log_softmax(0).view(height, width)
    found = [
        -log_p[int(row * height // one.size[0]), int(col * width // one.size[1])]
        for row, col in zip(points.row.tolist(), points.col.tolist(), strict=True)
    ]
    return torch.stack(found).mean() if found else 0 * log_p.sum()
