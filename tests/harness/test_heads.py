"""Heads side by side must train exactly as each would alone and plainly, however the stream is cut into batches."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.heads import HeadBank, LinearHead, MapHead, Running, Training
from tests.harness.batches import LAYERS
from tests.harness.plain_heads import Plain, add, batches, image, plain_training, train

IMAGES = 11
CPU = torch.device("cpu")
Heads = list[tuple[LinearHead | MapHead, Training]]


def training(**changes: Any) -> Training:
    return replace(Training("mse", 3, 0.05, 4, 0.0, "adam"), **changes)


MIX: Heads = [
    (LinearHead(LAYERS), training()),
    (LinearHead(LAYERS[:1]), training()),
    (LinearHead(LAYERS[1:]), training(loss="kl")),
    (LinearHead(LAYERS), training(loss="nll")),
    (LinearHead(LAYERS), training(loss="kl", epochs=4, learning_rate=0.2, images_per_step=3)),
    (LinearHead(LAYERS[:1]), training(optimiser="sgd", weight_decay=0.1, images_per_step=1)),
    (MapHead(LAYERS[1:], (4, 5)), training(weight_decay=0.01)),
    (MapHead(LAYERS, (3, 4)), training(loss="kl", optimiser="sgd", epochs=2, images_per_step=20)),
    (MapHead(LAYERS, (3, 4), standardised=False), training(loss="sigmoid-mse")),
    (LinearHead(LAYERS), training(loss="sigmoid-mse")),
]


def assert_equal(run: Running[LinearHead] | Running[MapHead], plain: Plain) -> None:
    for name, weight in plain.weights.items():
        torch.testing.assert_close(run.weights[name].double(), weight.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(run.bias.double(), plain.bias.detach(), rtol=1e-5, atol=1e-5)
    assert run.step_loss == pytest.approx(plain.step_loss, rel=1e-5, abs=1e-6)
    assert run.epoch_loss == pytest.approx(plain.epoch_loss, rel=1e-5, abs=1e-6)


def kinds() -> st.SearchStrategy[LinearHead | MapHead]:
    layers = st.sampled_from([LAYERS, LAYERS[:1], LAYERS[1:]])
    maps = st.builds(MapHead, layers, st.just((4, 5)), st.booleans())
    return st.one_of(layers.map(LinearHead), maps)


def trainings() -> st.SearchStrategy[Training]:
    return st.builds(
        Training,
        loss=st.sampled_from(["mse", "kl", "nll", "sigmoid-mse"]),
        epochs=st.integers(1, 3),
        learning_rate=st.sampled_from([0.01, 0.05]),
        images_per_step=st.integers(1, 5),
        weight_decay=st.sampled_from([0.0, 0.1]),
        optimiser=st.sampled_from(["adam", "sgd"]),
    )


@settings(max_examples=15, derandomize=True)
@given(
    heads=st.lists(st.tuples(kinds(), trainings()), min_size=1, max_size=4),
    per_batch=st.integers(1, 6),
    skipped=st.sets(st.integers(0, 6), max_size=3),
)
def test_any_mix_equals_plain_training(heads: Heads, per_batch: int, skipped: set[int]) -> None:
    images = [image(turn) for turn in range(7) if turn not in skipped]
    bank = HeadBank(7, CPU)
    runs = [add(bank, *head) for head in heads]
    assert train(bank, batches(images, per_batch)) == 1 + max(training.epochs for _, training in heads)
    for run, head in zip(runs, heads, strict=True):
        assert_equal(run, plain_training(*head, images, 7))


@pytest.mark.parametrize("per_batch", [1, 3, 11])
def test_the_streams_batch_size_does_not_matter(per_batch: int) -> None:
    images = [image(turn) for turn in range(IMAGES)]
    bank = HeadBank(IMAGES, CPU)
    runs = [add(bank, *head) for head in MIX]
    train(bank, batches(images, per_batch))
    for run, head in zip(runs, MIX, strict=True):
        assert len(run.step_loss) == run.training.epochs * math.ceil(IMAGES / run.training.images_per_step)
        assert_equal(run, plain_training(*head, images, IMAGES))


def test_the_features_memory_layout_does_not_matter() -> None:
    images = [image(turn) for turn in range(IMAGES)]
    stream = [
        replace(b, features={n: x.contiguous(memory_format=torch.channels_last) for n, x in b.features.items()})
        for b in batches(images, 4)
    ]
    bank = HeadBank(IMAGES, CPU)
    runs = [add(bank, *head) for head in MIX]
    train(bank, stream)
    for run, head in zip(runs, MIX, strict=True):
        assert_equal(run, plain_training(*head, images, IMAGES))


def test_without_turns_images_are_counted() -> None:
    images = [image(turn) for turn in range(IMAGES)]
    found = []
    for turns_known in (True, False):
        bank = HeadBank(IMAGES, CPU)
        run = bank.add_linear(LinearHead(LAYERS), training())
        train(bank, [b if turns_known else replace(b, turns=()) for b in batches(images, 3)])
        found.append(torch.cat(list(run.weights.values())))
    assert torch.equal(*found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_computed_in_float32(dtype: torch.dtype) -> None:
    images = [image(turn, dtype) for turn in range(IMAGES)]
    bank = HeadBank(IMAGES, CPU)
    runs = [add(bank, *head) for head in MIX]
    train(bank, batches(images, 4))
    for run, head in zip(runs, MIX, strict=True):
        assert_equal(run, plain_training(*head, images, IMAGES))


@pytest.mark.parametrize(("offset", "tolerance"), [(10.0, 3e-5), (1e3, 1e-3)])
def test_channels_far_from_zero(offset: float, tolerance: float) -> None:
    """Folding the mean into the weights must not cost more digits than float32 features have lost themselves."""
    images = [image(turn, offset=offset) for turn in range(IMAGES)]
    bank = HeadBank(IMAGES, CPU)
    run = bank.add_linear(LinearHead(LAYERS[1:]), training())
    train(bank, batches(images, 4))
    assert bank.scale.far("coarse") == (offset > 100)
    plain = plain_training(run.head, run.training, images, IMAGES)
    torch.testing.assert_close(run.weights["coarse"].double(), plain.weights["coarse"].detach(), rtol=0, atol=tolerance)


def test_a_head_that_diverges_leaves_the_others_alone() -> None:
    images = [image(turn) for turn in range(IMAGES)]
    bank = HeadBank(IMAGES, CPU)
    wild = bank.add_linear(LinearHead(LAYERS), training(optimiser="sgd", learning_rate=1e30))
    runs = [add(bank, *head) for head in MIX]
    train(bank, batches(images, 4))
    assert not torch.isfinite(wild.weights["fine"]).all()
    for run, head in zip(runs, MIX, strict=True):
        assert_equal(run, plain_training(*head, images, IMAGES))


def test_features_get_no_gradient_and_are_not_changed() -> None:
    batch = image(0)
    before = {name: x.clone() for name, x in batch.features.items()}
    bank = HeadBank(1, CPU)
    bank.add_linear(LinearHead(LAYERS), training())
    bank.add_map(MapHead(LAYERS, (4, 5)), training())
    train(bank, [batch])
    for name, x in batch.features.items():
        assert x.grad is None
        assert not x.requires_grad
        assert torch.equal(x, before[name])


def test_images_out_of_turn_are_refused() -> None:
    bank = HeadBank(3, CPU)
    bank.add_linear(LinearHead(LAYERS), training(images_per_step=1))
    bank.update(image(0))
    bank.end_pass()
    bank.update(image(2))
    for turn in (0, 3):
        with pytest.raises(ValueError, match="out of turn"):
            bank.update(image(turn))


def test_memory_is_known_before_the_first_batch() -> None:
    bank = HeadBank(IMAGES, CPU)
    runs = [add(bank, *head) for head in MIX]
    expected = bank.expected_bytes()
    train(bank, batches([image(turn) for turn in range(IMAGES)], 4))
    copies = {"adam": 4, "sgd": 3}
    held = [copies[r.training.optimiser] * 4 * sum(t.numel() for t in (*r.weights.values(), r.bias)) for r in runs]
    assert expected == sum(held)
