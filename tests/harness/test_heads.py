"""Heads side by side must train exactly as each would alone, whatever the stream's batch size."""

from __future__ import annotations

import math

import pytest
import torch

from harness.grid import resize
from harness.heads import HeadBank, LinearHead, MapHead, Training, kl, mse
from harness.types import Batch
from tests.harness.batches import GRID, LAYERS, random_batch

IMAGES = 11
CPU = torch.device("cpu")


def training(**changes: object) -> Training:
    values: dict[str, object] = {
        "loss": "mse",
        "epochs": 3,
        "learning_rate": 0.05,
        "images_per_step": 4,
        "weight_decay": 0.0,
        "optimiser": "adam",
    }
    return Training(**{**values, **changes})  # type: ignore[arg-type]


def stream(per_batch: int) -> list[Batch]:
    return [random_batch(range(i, min(i + per_batch, IMAGES))) for i in range(0, IMAGES, per_batch)]


def train(bank: HeadBank, per_batch: int) -> int:
    passes = 0
    again = True
    while again:
        for batch in stream(per_batch):
            bank.update(batch)
        again = bank.end_pass()
        passes += 1
    return passes


def test_a_head_alone_equals_a_head_among_others() -> None:
    together = HeadBank(IMAGES, CPU)
    runs = [
        together.add(LinearHead(LAYERS, CPU, "mse"), training()),
        together.add(LinearHead(LAYERS[:1], CPU, "kl"), training(loss="kl", epochs=5, learning_rate=0.2)),
        together.add(MapHead(LAYERS[1:], (4, 5), CPU, "mse"), training(weight_decay=0.01)),
    ]
    assert train(together, per_batch=5) == 6  # one for the scale, then the longest head's epochs
    alike = [LinearHead(LAYERS, CPU, "mse"), LinearHead(LAYERS[:1], CPU, "kl"), MapHead(LAYERS[1:], (4, 5), CPU, "mse")]
    for run, head in zip(runs, alike, strict=True):
        alone = HeadBank(IMAGES, CPU)
        single = alone.add(head, run.training)
        train(alone, per_batch=5)
        for a, b in zip(run.head.parameters(), single.head.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
        assert single.epoch_loss == pytest.approx(run.epoch_loss, rel=1e-6)


@pytest.mark.parametrize("per_batch", [1, 3, 8, 11])
def test_the_streams_batch_size_does_not_matter(per_batch: int) -> None:
    banks = []
    for size in (4, per_batch):
        bank = HeadBank(IMAGES, CPU)
        run = bank.add(LinearHead(LAYERS, CPU, "kl"), training(loss="kl"))
        train(bank, size)
        assert len(run.step_loss) == 3 * math.ceil(IMAGES / 4)
        banks.append(run)
    for a, b in zip(banks[0].head.parameters(), banks[1].head.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_training_equals_a_plain_loop() -> None:
    bank = HeadBank(IMAGES, CPU)
    run = bank.add(LinearHead(LAYERS, CPU, "mse"), training())
    train(bank, per_batch=4)

    features = {name: torch.cat([b.features[name] for b in stream(4)]) for name in ("fine", "coarse")}
    scaled = {
        name: (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), unbiased=False, keepdim=True)
        for name, x in features.items()
    }
    wide = torch.cat([resize(scaled["fine"], GRID), resize(scaled["coarse"], GRID)], 1)
    target = torch.cat([b.target() for b in stream(4)])
    weight, bias = torch.zeros(10, requires_grad=True), torch.ones((), requires_grad=True)
    optimiser = torch.optim.Adam([weight, bias])
    steps, done = 3 * 3, 0
    for _ in range(3):
        for start in range(0, IMAGES, 4):
            rows = slice(start, start + 4)
            maps = torch.einsum("bchw,c->bhw", wide[rows], weight) + bias
            optimiser.zero_grad()
            ((maps - target[rows]) ** 2).mean((1, 2)).sum().div(4).backward()
            optimiser.param_groups[0]["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * done / steps))
            optimiser.step()
            done += 1
    torch.testing.assert_close(torch.cat(list(run.head.weights)), weight, rtol=1e-4, atol=1e-5)


def test_loss_falls() -> None:
    bank = HeadBank(IMAGES, CPU)
    runs = [bank.add(LinearHead(LAYERS, CPU, loss), training(loss=loss, epochs=8)) for loss in ("mse", "kl")]
    train(bank, per_batch=4)
    for run in runs:
        assert len(run.epoch_loss) == 8
        assert run.epoch_loss[-1] < run.epoch_loss[0]


def test_losses_against_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    maps, target = torch.randn(3, 4, 5, generator=generator), torch.rand(3, 4, 5, generator=generator)
    target[2] = 0
    target[:2] /= target[:2].mean((1, 2), keepdim=True)
    expected = torch.nn.functional.kl_div(maps.flatten(1).log_softmax(1), target.flatten(1) / 20, reduction="none").sum(
        1
    )
    torch.testing.assert_close(kl(maps, target), expected)
    assert kl(maps, target)[2] == 0
    torch.testing.assert_close(mse(maps, target)[0], torch.nn.functional.mse_loss(maps[0], target[0]))
