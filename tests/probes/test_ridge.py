"""What ridges of one backbone share is what each of them would have alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import harness.wanted_ridges
from harness._plugin import as_entry
from harness.errors import RecipeError
from harness.grid import resize
from harness.normal_equations import cross_validate, ridge
from harness.plan import make_plan
from harness.position import position_terms
from harness.readout import LinearReadout
from harness.recipe import parse_recipe
from harness.types import Batch
from probes.banded_ridge import BandedRidge
from probes.nnls import NNLS
from probes.pooled import Pooled
from probes.ridge import Ridge
from probes.smoothed import Smoothed
from tests.harness.batches import LAYERS
from tests.probes.plain import IMAGES, context, positions, stream, taught


def test_ridges_on_the_same_layers_are_solved_once_as_each_would_be_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    solved = []
    solve = harness.wanted_ridges.cross_validate_family

    def counted(*asked: Any) -> Any:
        solved.append(asked)
        return solve(*asked)

    batches, about = stream(), context()
    asked = [Ridge(), Ridge(link="rectified"), Ridge(target="standardised"), Ridge(position=True), Ridge(alphas=(0.5,))]
    weighted = Ridge(penalties={LAYERS[0].name: 0.5}).trainer(about)
    monkeypatch.setattr(harness.wanted_ridges, "cross_validate_family", counted)
    trainers = [probe.trainer(about) for probe in asked]
    (moments,) = about._shared.values()
    for batch in batches:
        moments.update(batch)
    moments.end_pass()
    both = [torch.cat(list(trainer.readout().weights.values())) for trainer in trainers[:2]]
    assert torch.equal(*both)  # a link changes nothing before it
    for probe, trainer in zip(asked, trainers, strict=True):
        found = trainer.readout()
        alone = cross_validate(trainer.gather, moments.folds, probe.alphas, ridge).solution
        assert isinstance(found, LinearReadout)
        assert (found.link, found.info["alpha"]) == (probe.link, alone.alpha)
        weights = torch.cat(list(found.weights.values()))
        torch.testing.assert_close(weights, alone.weights[:, 0].float(), rtol=1e-6, atol=1e-8)
        assert found.bias == pytest.approx(alone.bias.item(), rel=1e-9)
    assert len(solved) == 2  # those of one grid of penalties together
    weighted.readout()
    assert len(solved) == 3


@settings(max_examples=20, deadline=None)
@given(
    penalties=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), alpha=st.floats(1e-3, 10), position=st.booleans()
)
def test_a_layer_with_a_penalty_of_its_own_is_a_layer_on_another_scale(
    penalties: tuple[float, float], alpha: float, position: bool
) -> None:
    """Times 1 / sqrt(f) after standardising, scikit-learn's ridge and back: alpha f |v|^2."""
    named = dict(zip([layer.name for layer in LAYERS], penalties, strict=True))
    batches = stream()
    found = taught(Ridge(alphas=(alpha,), penalties=named, position=position), batches)
    assert isinstance(found, LinearReadout)
    assert found.info["layer_alphas"] == {layer: alpha * times for layer, times in named.items()}
    x, y = positions(batches)
    factor = np.repeat(penalties, [layer.channels for layer in LAYERS])
    if position:
        place = position_terms(batches[0].grid, torch.device("cpu")).flatten(1).T.numpy()
        x = np.hstack([x, np.tile(place, (IMAGES, 1))])
        factor = np.append(factor, np.ones(5))
    to_unit = x.std(0) * np.sqrt(factor)
    plain = sklearn.linear_model.Ridge(alpha * len(y)).fit(x / to_unit, y)
    weights = torch.cat(list(found.weights.values())).numpy()
    np.testing.assert_allclose(weights * to_unit, plain.coef_, rtol=1e-4, atol=1e-6)
    assert found.bias == pytest.approx(plain.intercept_ - (plain.coef_ / to_unit - weights) @ x.mean(0), rel=1e-3)


def test_equal_penalties_are_one_alpha() -> None:
    batches = stream()
    common, each = (
        taught(probe, batches)
        for probe in (Ridge(alphas=(0.2,)), Ridge(alphas=(0.1,), penalties={layer.name: 2.0 for layer in LAYERS}))
    )
    assert isinstance(common, LinearReadout)
    assert isinstance(each, LinearReadout)
    for layer in LAYERS:
        torch.testing.assert_close(each.weights[layer.name], common.weights[layer.name])


def test_a_penalty_of_a_layer_that_is_not_read_is_told_not_ignored() -> None:
    probe = Ridge(penalties={"fine": 0.2, "layer3.7": 2})
    assert probe.skip(LAYERS) == f"penalties: no layer layer3.7 among {', '.join(layer.name for layer in LAYERS)}"
    assert probe.label == "ridge-penalties"
    assert Ridge(penalties={"fine": 0.2}).skip(LAYERS) is None
    assert "penalties" not in as_entry(Ridge())
    for penalties, message in (({"fine": 0.0}, "fine must have a positive number, not 0"), ({}, "names no layer")):
        with pytest.raises(ValueError, match=message):
            Ridge(penalties=penalties)


def test_a_centred_ridge_reads_features_times_the_power_of_the_prior() -> None:
    batches = stream()
    prior = torch.rand(30, 40, generator=torch.Generator().manual_seed(0)) + 0.1
    about = replace(context(), centre_prior=lambda: prior)
    plain, centred, more = (Ridge(centre=power).trainer(about) for power in (0.0, 0.5, 1.0))
    assert len(about._shared) == 3  # what is multiplied by another window is another statistic
    window = prior.sqrt() / prior.mean().sqrt()  # mean square 1
    for batch in batches:
        for moments in about._shared.values():
            moments.update(batch)
    for trainer in (plain, centred, more):
        trainer.moments.end_pass()
    found, without = centred.readout(), plain.readout()
    assert isinstance(found.window, torch.Tensor)
    torch.testing.assert_close(found.window, window)
    assert without.window is None
    assert list(found.weights) == [*without.weights, "window"]
    assert found.layers == without.layers
    times = [times_window(batch, window) for batch in batches]
    unmultiplied = LinearReadout(dict(without.weights), found.bias)
    unmultiplied.weights |= {name: found.weights[name] for name in found.layers}
    for batch, multiplied in zip(batches, times, strict=True):
        expected = unmultiplied.logits(multiplied) + found.weights["window"] * resize(window, batch.grid)
        torch.testing.assert_close(found.logits(batch), expected, rtol=1e-4, atol=1e-4)


def times_window(batch: Batch, window: Tensor) -> Batch:
    features = {name: x * resize(window, (x.shape[-2], x.shape[-1])) for name, x in batch.features.items()}
    return replace(batch, features=features)


@pytest.mark.parametrize(
    "wrong",
    [{"centre": -0.1}, {"power": 0.0}, {"power": 2.0}, {"link": "exp"}, {"root": 0.5}, {"root": 1.0}, {"blur": -1.0}],
)
def test_powers_and_links_that_cannot_be_are_refused_in_a_recipe(wrong: dict[str, object]) -> None:
    recipe = {
        "name": "wrong",
        "dataset": {"reader": "demo"},
        "backbones": ["resnet50"],
        "layers": ["layer1"],
        "probes": [{"name": "ridge", **wrong}],
    }
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        make_plan(parse_recipe(recipe))


def test_names_say_the_window_and_the_power() -> None:
    assert Ridge(centre=0.25).label == "ridge-centre0.25"
    assert Ridge(target="standardised", position=True, centre=0.2, link="rectified", power=1.25).label == (
        "ridge-standardised-position-centre0.2-rectified-1.25"
    )
    assert Ridge(target="standardised", root=0.125, link="softplus").label == "ridge-standardised-root0.125-softplus"
    assert Ridge(centre=0.2, blur=0.4, link="softplus").label == "ridge-centre0.2-blur0.4-softplus"
    assert not {"blur", "centre", "power", "root"} & set(as_entry(Ridge()))  # finished results keep their keys


@pytest.mark.parametrize("probe", [Ridge, Smoothed, Pooled, BandedRidge, NNLS])
@pytest.mark.parametrize("alphas", [(), (-0.3, 1.0), (float("inf"),), (float("nan"),)])
def test_what_is_no_penalty_is_refused(probe: type[Any], alphas: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="alphas must be"):
        probe(alphas=alphas)


def test_zero_is_a_penalty_where_none_is_needed() -> None:
    assert Ridge(alphas=(0.0,)).alphas == (0.0,)
    with pytest.raises(ValueError, match="positive numbers"):
        BandedRidge(alphas=(0.0, 1.0))
