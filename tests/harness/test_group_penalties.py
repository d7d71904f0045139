"""Banded ridge against plain dense algebra, its slope against finite differences, and against common-alpha ridge."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.group_penalties import cross_validate_groups, fit_groups, held_out_slope
from harness.normal_equations import NormalEquations, add_up, cross_validate, ridge_path

WIDTHS = (5, 12)
ALPHAS = (1e-4, 1e-2, 1.0, 100.0)


def samples(seed: int, n: int = 120) -> tuple[Tensor, Tensor]:
    """Few features that explain the target, many that do not; one of them dead."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, sum(WIDTHS), generator=random, dtype=torch.float64) * torch.logspace(-2, 2, sum(WIDTHS)) + 3
    x[:, -1] = 7.25
    y = (x[:, :3] / x[:, :3].std(0)).sum(1, keepdim=True) + 2 * torch.randn(n, 1, generator=random, dtype=torch.float64)
    return x, y


def equations(x: Tensor, y: Tensor) -> NormalEquations:
    return NormalEquations(x.T @ x, x.T @ y, x.sum(0), y.sum(0), y.square().sum(0), float(len(x)))


class Folds:
    """What moments are to a probe: the statistics of some folds, in memory of their own."""

    def __init__(self, x: Tensor, y: Tensor, n: int = 3) -> None:
        self.numbers = list(range(n))
        self._parts = [equations(x[k::n], y[k::n]) for k in self.numbers]

    def __call__(self, folds: Sequence[int]) -> NormalEquations:
        return add_up([self._parts[k] for k in folds])


@settings(max_examples=20)
@given(st.integers(0, 999), st.floats(-4, 2), st.floats(-4, 2))
def test_the_fit_is_ridge_on_columns_scaled_by_their_penalties(seed: int, a: float, b: float) -> None:
    alphas = (10.0**a, 10.0**b)
    x, y = samples(seed)
    found = fit_groups(equations(x, y), alphas, WIDTHS)
    mean, deviation = x.mean(0), x.std(0, correction=0)
    alive = deviation > 1e-9
    standard = torch.where(alive, (x - mean) / deviation.clamp(min=1e-9), 0.0)
    penalties = torch.tensor([alphas[0]] * WIDTHS[0] + [alphas[1]] * WIDTHS[1], dtype=torch.float64)
    scaled = standard / penalties.sqrt()
    system = scaled.T @ scaled / len(x) + torch.eye(x.shape[1], dtype=torch.float64)
    plain = torch.linalg.solve(system, scaled.T @ (y - y.mean(0)) / len(x)) / penalties.sqrt()[:, None]
    torch.testing.assert_close(x @ found.weights + found.bias, standard @ plain + y.mean(0), rtol=1e-7, atol=1e-7)


@settings(max_examples=20)
@given(st.integers(0, 999), st.sampled_from(ALPHAS))
def test_equal_penalties_are_ridge(seed: int, alpha: float) -> None:
    x, y = samples(seed)
    (common,) = ridge_path(equations(x, y), [alpha])
    assert common is not None
    found = fit_groups(equations(x, y), (alpha, alpha), WIDTHS)
    torch.testing.assert_close(found.weights, common.weights, rtol=1e-8, atol=1e-10)


@settings(max_examples=20)
@given(st.integers(0, 999), st.floats(-3, 1), st.floats(-3, 1))
def test_the_slope_is_that_of_finite_differences(seed: int, a: float, b: float) -> None:
    folds = Folds(*samples(seed))
    logs = torch.tensor([a, b], dtype=torch.float64) * torch.tensor(10.0).log()

    def error(where: Tensor) -> float:
        return held_out_slope(folds, folds.numbers, where.exp().tolist(), WIDTHS)[0]

    _, slope = held_out_slope(folds, folds.numbers, logs.exp().tolist(), WIDTHS)
    for group in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[group] = 1e-4
        numeric = (error(logs + step) - error(logs - step)) / 2e-4
        assert slope[group].item() == pytest.approx(numeric, rel=1e-4, abs=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 999), st.integers(1, 6))
def test_never_worse_than_a_common_alpha(seed: int, steps: int) -> None:
    folds = Folds(*samples(seed))
    found = cross_validate_groups(folds, folds.numbers, ALPHAS, WIDTHS, steps)
    common = cross_validate(folds, folds.numbers, ALPHAS)
    assert found.best.cv_error <= min(common.cv_error)
    assert len(found.path) <= 1 + steps
    assert found.best.cv_error == pytest.approx(
        held_out_slope(folds, folds.numbers, found.best.alphas, WIDTHS)[0], rel=1e-9
    )
    assert all(min(ALPHAS) * 0.999 <= alpha <= max(ALPHAS) * 1.001 for alpha in found.best.alphas)


def test_a_group_of_noise_gets_the_larger_penalty_and_that_pays() -> None:
    folds = Folds(*samples(1))
    found = cross_validate_groups(folds, folds.numbers, ALPHAS, WIDTHS, 12)
    signal, noise = found.best.alphas
    assert noise > 3 * signal
    assert found.best.cv_error < 0.99 * min(found.common.cv_error)


def test_one_fold_has_nothing_to_choose_by() -> None:
    folds = Folds(*samples(0), n=1)
    found = cross_validate_groups(folds, [0], (0.1, 1.0, 10.0), WIDTHS, 5)
    assert found.best.alphas == (1.0, 1.0)
