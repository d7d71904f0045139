"""Probes in the plain form: functions and classes with fit, their parameters, what they may return."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import Batch, Context, LinearReadout, Probe, Trainer, probe
from harness._probe import PROBES
from harness.errors import PluginError, RecipeError
from harness.plain import PlainProbe, as_weights
from harness.plan import build, make_plan
from harness.position_sample import PositionSample
from harness.recipe import Entry, parse_recipe
from harness.results import read_cells
from tests.harness.batches import GRID, LAYERS, random_batch
from tests.harness.test_run import TINY, go


@pytest.fixture(autouse=True)
def _forget_probes() -> Iterator[None]:
    before = dict(PROBES._registered)
    yield
    PROBES._registered.clear()
    PROBES._registered.update(before)


def context(n_images: int = 6) -> Context:
    return Context(LAYERS, n_images, 3, 11, torch.device("cpu"), {})


def fitted(settings: Probe, images: int = 6) -> LinearReadout:
    trainer = settings.trainer(context(images))
    for start in range(0, images, 2):
        trainer.update(random_batch([start, start + 1]))
    assert not trainer.end_pass()
    readout = trainer.readout()
    assert isinstance(readout, LinearReadout)
    return readout


def least_squares(features: Any, density: Any) -> Any:
    X = np.column_stack([features, np.ones(len(features))]).astype(np.float64)
    solution = np.linalg.lstsq(X, density.astype(np.float64), rcond=None)[0]
    return solution[:-1], solution[-1]


def test_a_function_is_a_probe() -> None:
    @probe("lsq")
    def lsq(features, density, *, shrink: float = 1.0, positions: int = 100):  # type: ignore[no-untyped-def]
        """Least squares. shrink: what the weights are multiplied with."""
        weights, bias = least_squares(features, density)
        return shrink * weights, bias

    settings = build(PROBES, Entry(name="lsq", shrink="0.5"), "probes.0")  # type: ignore[call-arg]
    assert isinstance(settings, PlainProbe)
    assert (settings.shrink, settings.positions, settings.target) == (0.5, 100, "density")  # type: ignore[attr-defined]
    assert lsq.name == settings.label == "lsq"
    assert lsq.__doc__.startswith("Least squares")
    readout = fitted(settings)
    half = fitted(lsq(shrink=0.25))
    torch.testing.assert_close(half.weights["fine"] * 2, readout.weights["fine"])
    with pytest.raises(RecipeError, match=r"probes\.0\.shrnk: unknown key"):
        build(PROBES, Entry(name="lsq", shrnk=1), "probes.0")  # type: ignore[call-arg]


def test_a_class_with_fit_is_a_probe() -> None:
    @probe("classy")
    class Classy:
        """shrink: what the weights are multiplied with."""

        shrink: float = 1.0

        def fit(self, features: Any, density: Any) -> Any:
            weights, bias = least_squares(features, density)
            return self.shrink * weights, bias

    settings = build(PROBES, Entry(name="classy", shrink=2, positions=50), "probes.0")  # type: ignore[call-arg]
    assert isinstance(settings, PlainProbe)
    assert fitted(settings).info["positions"] == 50
    assert Classy(shrink=3.0).fit(np.eye(3), np.ones(3))[0].shape == (3,)


def test_all_positions_give_what_a_plain_fit_of_all_pixels_gives() -> None:
    @probe("lsq")
    def lsq(features, density):  # type: ignore[no-untyped-def]
        """Least squares."""
        return least_squares(features, density)

    sample = PositionSample(LAYERS, 6, 6 * GRID[0] * GRID[1], seed=0)
    batch = random_batch(range(6))
    sample.add(batch, batch.target())
    weights, bias = least_squares(*sample.draw()[:2])
    readout = fitted(lsq(positions=10_000))
    found = torch.cat([readout.weights[layer.name] for layer in LAYERS])
    torch.testing.assert_close(found, torch.from_numpy(weights).float(), rtol=1e-4, atol=1e-5)
    assert readout.bias == pytest.approx(bias, abs=1e-5)


def test_a_fit_may_ask_for_groups_and_seed() -> None:
    asked: dict[str, Any] = {}

    @probe("asks")
    def asks(features, density, *, groups, seed, depth: int = 1):  # type: ignore[no-untyped-def]
        """depth: nothing."""
        asked.update(groups=groups, seed=seed)
        return np.zeros(features.shape[1])

    fitted(asks(positions=12))
    assert asked["groups"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert asked["seed"] == 11


def test_the_standardised_target() -> None:
    @probe("sees")
    def sees(features, density):  # type: ignore[no-untyped-def]
        """Checks what it is given."""
        assert abs(density.mean()) < 1e-5
        assert density.std() == pytest.approx(1, abs=1e-4)
        return np.zeros(features.shape[1])

    fitted(sees(target="standardised", positions=10_000))


def test_warnings_of_a_fit_are_kept() -> None:
    @probe("warns")
    def warns(features, density):  # type: ignore[no-untyped-def]
        """Warns."""
        import warnings

        warnings.warn("did not converge\nin 5 steps\n\nRead the manual.", RuntimeWarning, stacklevel=1)
        return np.zeros(features.shape[1])

    assert fitted(warns()).info["warnings"] == ["RuntimeWarning: did not converge in 5 steps"]


class _Estimator:
    coef_ = np.ones((1, 3))
    intercept_ = np.array([2.0])


def test_what_a_fit_may_return() -> None:
    for good in (np.ones(3), [1, 1, 1], (np.ones(3), 0.0), torch.ones(3), (torch.ones(3), torch.zeros(1))):
        weights, bias = as_weights(good, 3)
        assert weights.tolist() == [1, 1, 1]
        assert bias == 0
    assert as_weights(_Estimator(), 3)[1] == 2
    for bad, words in (
        (np.ones(4), "4 weights and 1 biases for 3 channels"),
        ((np.ones(3), np.ones(2)), "2 biases"),
        (np.array([1, np.nan, 1]), "not finite"),
        ("weights", "fit returned str"),
        (None, "is its return missing"),
    ):
        with pytest.raises(PluginError, match=words):
            as_weights(bad, 3)


def test_signatures_that_cannot_be_called() -> None:
    def untyped(features, density, *, alpha=1):  # type: ignore[no-untyped-def]
        pass

    def one(features):  # type: ignore[no-untyped-def]
        pass

    def any_keyword(features, density, **rest):  # type: ignore[no-untyped-def]
        pass

    def taken(features, density, *, label: str = ""):  # type: ignore[no-untyped-def]
        pass

    for function, words in (
        (untyped, "alpha needs a type"),
        (one, r"takes 1 positional arguments, not 2: write one\(features, density"),
        (any_keyword, "name its parameters"),
        (taken, "no parameter may be called 'label'"),
    ):
        with pytest.raises(PluginError, match=words):
            probe("bad")(function)
    assert "bad" not in PROBES.names()


def test_parameters_of_a_function_are_swept() -> None:
    @probe("swept")
    def swept(features, density, *, power: int = 1, names: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
        """power, names: nothing."""
        return np.zeros(features.shape[1])

    entry = {"name": "swept", "power": [1, 2], "names": ["a", "b"]}
    plan = make_plan(parse_recipe({**TINY, "probes": [entry], "layers": ["layer1"]}))
    assert plan.cells[0].probe.names == ("a", "b")  # type: ignore[attr-defined]
    told = "names=('a', 'b')"
    assert [cell.probe_label for cell in plan.cells] == [f"swept[power=1,{told}]", f"swept[power=2,{told}]"]


def test_what_is_not_as_by_default_is_told_in_every_recipe() -> None:
    """So that two runs that differ in one value do not have the same name in a report or a store."""

    @probe("shrunk")
    def shrunk(features, density, *, power: int = 1):  # type: ignore[no-untyped-def]
        """power: nothing."""
        return np.zeros(features.shape[1])

    def labels(*entries: object) -> list[str]:
        recipe = parse_recipe({**TINY, "probes": list(entries), "layers": ["layer1"]})
        return [cell.probe_label for cell in make_plan(recipe).cells]

    assert labels("shrunk") == ["shrunk"]
    assert labels({"name": "shrunk", "power": 3}) == ["shrunk[power=3]"]
    assert labels("shrunk", {"name": "shrunk", "power": 3}) == ["shrunk[power=1]", "shrunk[power=3]"]
    assert labels({"name": "ridge", "alphas": [0.1]}) == ["ridge"]  # has a label of its own


def test_plain_probes_and_bare_callables_in_a_run(tmp_path: Path) -> None:
    @probe("lsq")
    def lsq(features, density):  # type: ignore[no-untyped-def]
        """Least squares."""
        return least_squares(features, density)

    @probe("bare")
    class Bare(Probe):
        """Energy of the features: no training, no readout class."""

        def trainer(self, context: Context) -> Trainer:
            return Energetic()

    class Energetic(Trainer):
        def readout(self) -> Any:
            return lambda batch: batch.features["layer1"].square().mean(1)

    outcome, _ = go(tmp_path, probes=["lsq", "bare"], layers=["layer1"])
    cells = read_cells(outcome.folder).set_index("probe")
    assert set(cells.status) == {"finished"}, list(cells.error)
    assert cells.cc.notna().all()
    assert "cannot be saved" in cells.warnings["bare"]
    folders = {name: outcome.folder / "cells" / key for name, key in cells.cell_key.items()}
    assert (folders["lsq"] / "readout.safetensors").exists()
    assert not (folders["bare"] / "readout.json").exists()


def test_a_trainer_that_returns_nothing_is_told_so(tmp_path: Path) -> None:
    @probe("empty")
    class Empty(Probe):
        """Forgets its return."""

        def trainer(self, context: Context) -> Trainer:
            return Forgetful()

    class Forgetful(Trainer):
        def update(self, batch: Batch) -> None: ...
        def readout(self) -> Any: ...

    outcome, _ = go(tmp_path, probes=["empty"], layers=["layer1"])
    assert "readout() returned NoneType: return a Readout" in read_cells(outcome.folder).error.item()
