"""Ridges that are solved together are what each of them is alone."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.normal_equations import BAND_FEATURES, NormalEquations, add_up, cross_validate
from harness.ridge_family import cross_validate_family
from harness.types import LayerSpec
from harness.wanted_ridges import Wanted, WantedRidges
from tests.harness.ridge_families import MEMBERS, alone, parts


def assert_as_alone(folds: Sequence[NormalEquations], alphas: Sequence[float], more: int) -> None:
    numbers = range(len(folds))
    together = cross_validate_family(lambda k: add_up([folds[i] for i in k]), numbers, alphas, MEMBERS, more)
    for member, found in zip(MEMBERS, together, strict=True):
        own = alone(folds, member, more)
        plain = cross_validate(lambda k, own=own: add_up([own[i] for i in k]), numbers, alphas)  # type: ignore[misc]
        assert found is not None
        assert found.solution.alpha == plain.solution.alpha
        torch.testing.assert_close(torch.tensor(found.cv_error), torch.tensor(plain.cv_error), rtol=1e-7, atol=0)
        for ours, theirs in (
            (found.solution.weights, plain.solution.weights),
            (found.solution.bias, plain.solution.bias),
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


@settings(max_examples=40)
@given(
    p=st.integers(2, 30),
    more=st.integers(0, 6),
    folds=st.integers(1, 4),
    # of two alphas a rounding apart either may be the better
    alphas=st.lists(st.floats(1e-4, 1e2), min_size=1, max_size=7, unique_by=lambda alpha: f"{alpha:.3g}"),
    seed=st.integers(0, 99),
)
def test_a_family_is_solved_as_each_alone(p: int, more: int, folds: int, alphas: list[float], seed: int) -> None:
    assert_as_alone(parts(p + more, folds, seed), alphas, more)


def test_the_same_where_faint_features_are_at_the_floor_of_their_layer() -> None:
    folds = [replace(fold, widths=(6, 3, 4)) for fold in parts(13, 3, 5)]
    for fold in folds:
        for faint in (1, 7, 10):
            shrink = torch.ones(13).index_fill_(0, torch.tensor([faint]), 1e-4)
            fold.G.mul_(shrink).mul_(shrink[:, None])
            fold.c.mul_(shrink[:, None])
            fold.m.mul_(shrink)
    assert_as_alone(folds, [1e-3, 1e-1, 1.0], 4)
    assert folds[0].first(9).widths == (6, 3)


@settings(max_examples=20)
@given(penalties=st.tuples(*[st.floats(1e-2, 1e2)] * 3), more=st.sampled_from([0, 4]), seed=st.integers(0, 99))
def test_the_same_where_layers_have_penalties_of_their_own(penalties: tuple[float, ...], more: int, seed: int) -> None:
    folds = [replace(fold, widths=(6, 3, 4), penalties=penalties) for fold in parts(13, 3, seed)]
    assert_as_alone(folds, [1e-3, 1e-1, 1.0], more)
    assert folds[0].first(9).penalties == penalties[:2]


def test_the_same_where_one_band_serves_every_alpha() -> None:
    assert_as_alone(parts(BAND_FEATURES + 9, 2, 0), [1e-3, 1e-2, 1e-1, 1.0, 10.0], 5)


@pytest.mark.parametrize("more", [0, 2])
def test_statistics_are_gone_when_the_next_are_put_together(more: int) -> None:
    """Each is a matrix of all features squared: the peak is one of them, and what solving it takes."""
    folds, made = parts(6, 3, 1), []

    def gather(numbers: Sequence[int]) -> NormalEquations:
        assert [statistics() for statistics in made] == [None] * len(made)
        total = add_up([folds[i] for i in numbers])
        made.append(weakref.ref(total))
        return total

    cross_validate_family(gather, range(3), [0.1, 1.0], MEMBERS, more)
    assert len(made) > 6


def test_a_dead_feature_has_no_weight_in_any() -> None:
    folds = [kept(fold, [1, 5]) for fold in parts(6, 3, 1)]
    for found in cross_validate_family(lambda k: add_up([folds[i] for i in k]), range(3), [0.1], MEMBERS, 2):
        assert found is not None
        assert found.solution.weights[1] == 0
        assert found.solution.weights.isfinite().all()


def kept(fold: NormalEquations, dead: list[int]) -> NormalEquations:
    """Without some features: they are 0 everywhere."""
    alive = torch.ones(len(fold.m), dtype=torch.float64)
    alive[dead] = 0
    return replace(fold, G=fold.G * alive * alive[:, None], c=fold.c * alive[:, None], m=fold.m * alive)


def test_who_cannot_be_solved_does_not_take_relatives_along() -> None:
    """No factor exists of a matrix that is not positive definite: in the wide one two features correlate above 1."""
    asked: list[list[str]] = []
    (fold,) = (replace(part, c=part.c[:, :1], y=part.y[:1], yy=part.yy[:1]) for part in parts(5, 1, 3))
    fold.G[3, 4] = fold.G[4, 3] = 10 * fold.G.abs().max()

    def equations(layers: Sequence[str], targets: Sequence[str], folds: Sequence[int]) -> NormalEquations:
        asked.append(list(layers))
        return add_up([fold])

    layers, more = (LayerSpec("x", 4, 1),), (LayerSpec("more", 1, 1),)
    fine, impossible = (Wanted(layers, columns, "density", (0.1,)) for columns in ((), more))
    ridges = WantedRidges()
    for ridge in (fine, impossible, fine):
        ridges.want(ridge)
    assert ridges.find(fine, equations, [0]).solution.weights.shape == (4, 1)
    with pytest.raises(ValueError, match="use larger alphas"):
        ridges.find(impossible, equations, [0])
    assert {tuple(names) for names in asked} == {("x", "more")}


def test_relatives_are_those_with_the_same_layers_and_penalties() -> None:
    folds = parts(5, 2, 4)
    asked: list[tuple[list[str], list[str]]] = []

    def equations(layers: Sequence[str], targets: Sequence[str], numbers: Sequence[int]) -> NormalEquations:
        asked.append((list(layers), list(targets)))
        total = add_up([folds[k] for k in numbers])
        total = total if "more" in layers else total.first(3)
        t = [["density", "root"].index(target) for target in targets]
        return replace(total, c=total.c[:, t], y=total.y[t], yy=total.yy[t])

    layers, more = (LayerSpec("x", 3, 1),), (LayerSpec("more", 2, 1),)
    ridges = WantedRidges()
    wanted = [
        Wanted(layers, (), "density", (0.1, 1.0)),
        Wanted(layers, more, "root", (0.1, 1.0)),
        Wanted(layers, more, "density", (0.5,)),
    ]
    for ridge in wanted:
        ridges.want(ridge)
    widths: list[Tensor] = [ridges.find(ridge, equations, [0, 1]).solution.weights for ridge in wanted]
    assert [len(weights) for weights in widths] == [3, 5, 5]
    assert {(*layers, *targets) for layers, targets in asked} == {
        ("x", "more", "density", "root"),
        ("x", "more", "density"),
    }
    once = len(asked)
    for ridge in wanted:
        ridges.find(ridge, equations, [0, 1])
    assert len(asked) == once
