"""Deliberately broken probes, each caught by the check that is meant for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import (
    Context,
    LinearReadout,
    PlainProbe,
    Probe,
    Readout,
    Trainer,
    probe,
)
from harness.errors import ContractError
from harness.testing import Check, check_probe, examine_probe
from harness.types import Batch
from tests.plugins import forgotten


@pytest.fixture(autouse=True)
def _forget_plugins() -> Iterator[None]:
    with forgotten():
        yield


class Sums(Trainer):
    """A sound trainer: the correlation of each channel with the density, summed over images."""

    def __init__(self, context: Context) -> None:
        self.context, self.total = context, {"sum": torch.zeros(sum(layer.channels for layer in context.layers))}

    def update(self, batch: Batch) -> None:
        self.total["sum"] += self.products(batch).sum(0)

    def products(self, batch: Batch) -> Tensor:
        found = []
        for name in self.context.layer_names:
            x = batch.features[name]
            y = batch.target((x.shape[2], x.shape[3]))[:, None]
            found.append((x * (y - y.mean((2, 3), keepdim=True))).mean((2, 3)))
        return torch.cat(found, 1)

    def sums(self) -> Any:
        return (self.total,)

    def readout(self) -> Readout:
        return self.linear(self.total["sum"] / self.context.n_images)

    def linear(self, weights: Tensor) -> LinearReadout:
        parts = torch.split(weights.float(), [layer.channels for layer in self.context.layers])
        return LinearReadout(dict(zip(self.context.layer_names, parts, strict=True)), 0.0)


def with_trainer(trainer: type[Sums]) -> type[Probe]:
    """A probe that trains with it."""

    @probe("broken")
    class Broken(Probe):
        """Broken or sound, by its trainer."""

        def trainer(self, context: Context) -> Trainer:
            return trainer(context)

    return Broken


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if check.status == "failed"}


def test_a_sound_probe_passes() -> None:
    assert failed(examine_probe(with_trainer(Sums), processes=False)) == {}


def test_undocumented_parameters() -> None:
    @probe("broken")
    class Broken(PlainProbe):
        """Says nothing of its parameter."""

        strength: float = 1.0

        def fit(self, features: Any, density: Any) -> Any:
            return np.zeros(features.shape[1])

    found = failed(examine_probe(Broken, processes=False))
    assert list(found) == ["documented parameters"]
    assert "strength" in found["documented parameters"]


def test_unseeded_randomness() -> None:
    class Unseeded(Sums):
        def readout(self) -> Readout:
            return self.linear(self.total["sum"] + torch.rand(len(self.total["sum"])))

    assert "context.seed" in failed(examine_probe(with_trainer(Unseeded), processes=False))["same result again"]


def test_dependence_on_the_batch_size_and_order() -> None:
    class Averages(Sums):
        """The mean of batches' means of squares: large batches count as much as small ones; the last one most."""

        def update(self, batch: Batch) -> None:
            self.total["sum"] = 0.5 * self.total["sum"] + self.products(batch).mean(0)

    found = failed(examine_probe(with_trainer(Averages), processes=False))
    assert set(found) == {"any batch size", "any batch order"}


def test_inputs_changed_in_place() -> None:
    class Scales(Sums):
        def products(self, batch: Batch) -> Tensor:
            for x in batch.features.values():
                x.mul_(2)
            return super().products(batch)

    found = failed(examine_probe(with_trainer(Scales), processes=False))
    assert list(found) == ["inputs left alone"]
    assert "features of fine" in found["inputs left alone"]


def test_division_by_a_standard_deviation_of_zero() -> None:
    @probe("broken")
    def broken(features, density):  # type: ignore[no-untyped-def]
        """Correlation of every channel."""
        z = (features - features.mean(0)) / features.std(0)
        return z.T @ density / len(z) / features.std(0)

    assert set(failed(examine_probe(broken, processes=False))) >= {"finite on dead features"}


class Peeking(Sums):
    def readout(self) -> Any:
        return lambda batch: batch.target()


class Counting(Sums):
    def readout(self) -> Any:
        calls: list[int] = []

        def maps(batch: Batch) -> Tensor:
            calls.append(1)
            return batch.features["fine"][:, 0] * len(calls)

        return maps


class OverTheBatch(Sums):
    def readout(self) -> Any:
        return lambda batch: batch.features["fine"][:, 0] - batch.features["fine"].amax((0, 1, 2, 3))


class WrongShape(Sums):
    def readout(self) -> Any:
        return lambda batch: batch.features["fine"]


class Greedy(Sums):
    passes = 0

    def end_pass(self) -> bool:
        self.passes += 1
        return self.passes < 3


@pytest.mark.parametrize(
    ("trainer", "check", "words"),
    [
        (Peeking, "no held out gaze", "batch.features only"),
        (Counting, "predicts without learning", "keep no state"),
        (OverTheBatch, "every image alone", "nothing over the batch's images"),
        (WrongShape, "trains and predicts", "return (b, h, w)"),
        (Greedy, "declared passes", "passes() says 1 but 3"),
    ],
)
def test_trainers_and_readouts(trainer: type[Sums], check: str, words: str) -> None:
    assert words in failed(examine_probe(with_trainer(trainer), processes=False))[check]


class Forgetful(Readout, kind="forgetful"):
    """Saves less than it needs."""

    def __init__(self, weight: Tensor, offset: float = 0.0) -> None:
        self.weight, self.offset, self.info = weight, offset, {}

    def __call__(self, batch: Batch) -> Tensor:
        return torch.einsum("bchw,c->bhw", batch.features["fine"], self.weight) + self.offset

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"weight": self.weight}, {}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Forgetful:
        return cls(tensors["weight"])

    def to(self, device: torch.device) -> Forgetful:
        return self


def test_a_readout_that_saves_too_little() -> None:
    class Saves(Sums):
        def readout(self) -> Readout:
            return Forgetful(torch.ones(6), offset=5.0)

    found = failed(examine_probe(with_trainer(Saves), processes=False))
    assert list(found) == ["saved and loaded"]
    assert "state() and from_state()" in found["saved and loaded"]


NO_SUMS = """
from tests.testing.test_broken_probes import Sums
from harness import Probe, probe

class NoSums(Sums):
    def sums(self):
        return ()

@probe("no_sums")
class NoSumsProbe(Probe):
    '''Forgets to say what it sums.'''
    def trainer(self, context):
        return NoSums(context)
"""


@pytest.mark.slow
def test_sums_that_are_not_named(tmp_path: Path) -> None:
    from harness.plugin_files import load_plugins

    (tmp_path / "no_sums.py").write_text(NO_SUMS)
    load_plugins([tmp_path / "no_sums.py"])
    found = failed(examine_probe("no_sums"))
    assert list(found) == ["goes on where it was stopped", "two processes"]
    assert "all that update() has gathered" in found["goes on where it was stopped"]
    assert "sums() must name all" in found["two processes"]


def test_what_failed_is_said_together() -> None:
    with pytest.raises(
        ContractError, match=r"probe broken breaks its contract:\n  trains and predicts: maps are"
    ) as caught:
        check_probe(with_trainer(WrongShape), processes=False)
    assert caught.value.exit_code == 2
    assert isinstance(caught.value, AssertionError)
