"""The ridge solver against plain dense algebra: every alpha from one band reduction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness import normal_equations
from harness._band import STRIPE, WIDTH, band, mirror, stripes
from harness.group_penalties import cross_validate_groups
from harness.normal_equations import FLOOR, NormalEquations, add_up, cross_validate, ridge_path
from harness.ridge_family import Member, cross_validate_family

ALPHAS = [10.0**k for k in range(-6, 3)]


def covariance(p: int, samples: int, seed: int = 0) -> Tensor:
    x = torch.randn(samples, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.T @ x / samples


def relu_like(p: int, samples: int, seed: int, targets: int = 1) -> tuple[Tensor, Tensor]:
    """Correlated, skewed, nearly rank-deficient features on very different scales; one dead, one constant."""
    random = torch.Generator().manual_seed(seed)
    causes = torch.randn(samples, 12, generator=random, dtype=torch.float64)
    x = causes @ torch.randn(12, p, generator=random, dtype=torch.float64) + 1e-3 * torch.randn(
        samples, p, generator=random, dtype=torch.float64
    )
    x = x.relu() * torch.logspace(-3, 3, p, dtype=torch.float64)
    x[:, 0], x[:, 1] = 0.0, 7.25
    y = causes[:, :targets] + torch.randn(samples, targets, generator=random, dtype=torch.float64)
    return x, y


def equations(x: Tensor, y: Tensor) -> NormalEquations:
    return NormalEquations(x.T @ x, x.T @ y, x.sum(0), y.sum(0), y.square().sum(0), float(len(x)))


def summed(parts: Sequence[NormalEquations], folds: Sequence[int]) -> NormalEquations:
    return add_up([parts[k] for k in folds])


@settings(max_examples=30)
@given(st.integers(1, 90), st.integers(1, 16), st.integers(1, 3), st.integers(0, 999))
def test_band_solves_every_shift(p: int, width: int, targets: int, seed: int) -> None:
    A = covariance(p, 2 * p + 3, seed)
    right = torch.randn(p, targets, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shifts = [1e-3, 1.0, 100.0]
    found, exists = band(A.clone(), width).solve(right, shifts)
    assert exists.all()
    for solution, alpha in zip(found, shifts, strict=True):
        plain = torch.linalg.solve(A + alpha * torch.eye(p, dtype=torch.float64), right)
        torch.testing.assert_close(solution, plain, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("p", [1, WIDTH, WIDTH + 1, 2 * WIDTH, STRIPE, STRIPE + WIDTH + 5, 3 * STRIPE - 1])
def test_band_keeps_eigenvalues_and_reads_only_the_lower_triangle(p: int) -> None:
    A = covariance(p, p + 5)
    reduced = band(A.tril())
    B = torch.block_diag(*reduced.diagonal)
    edges = torch.tensor([0, *(len(block) for block in reduced.diagonal)]).cumsum(0).tolist()
    for i, below in enumerate(reduced.below):
        B[edges[i + 1] : edges[i + 2], edges[i] : edges[i + 1]] = below
    torch.testing.assert_close(torch.linalg.eigvalsh(B), torch.linalg.eigvalsh(A), rtol=1e-10, atol=1e-12)


def test_band_with_columns_that_are_zero_already() -> None:
    A = torch.block_diag(covariance(100, 300), torch.zeros(100, 100), covariance(100, 300, 1)).double()
    right = torch.ones(300, 1, dtype=torch.float64)
    (found,), exists = band(A.clone(), 16).solve(right, [0.1])
    assert exists.all()
    torch.testing.assert_close(A @ found + 0.1 * found, right, rtol=1e-10, atol=1e-10)


def test_a_shift_that_leaves_the_matrix_indefinite_is_told_from_the_others() -> None:
    A = covariance(200, 400) - torch.eye(200, dtype=torch.float64)
    right = torch.ones(200, 1, dtype=torch.float64)
    shifts = [1e-3, 0.1, 2.0, 30.0]
    found, exists = band(A.clone(), 16).solve(right, shifts)
    smallest = torch.linalg.eigvalsh(A)[0]
    assert exists.tolist() == [bool(smallest + alpha > 0) for alpha in shifts]
    torch.testing.assert_close(A @ found[3] + 30 * found[3], right, rtol=1e-10, atol=1e-10)


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_stripes_of_a_trailing_matrix_are_those_of_the_whole(n: int, less: int) -> None:
    whole, part = stripes(n + less), stripes(n)
    assert [a for a, _ in part] == [0, *(b for _, b in part[:-1])][: len(part)]
    assert sum(b - a for a, b in part) == n
    ends = {b - n - less for _, b in whole}
    assert {b - n for _, b in part} <= ends


def test_mirror() -> None:
    A = covariance(STRIPE + 37, 40)
    lower = A.tril()
    mirror(lower)
    assert torch.equal(lower, lower.T)
    assert torch.equal(lower.tril(), A.tril())


@pytest.mark.parametrize("targets", [1, 5])
def test_both_solvers_give_the_same_held_out_errors(monkeypatch: pytest.MonkeyPatch, targets: int) -> None:
    x, y = relu_like(300, 1500, seed=3, targets=targets)
    parts = [equations(x[k::5], y[k::5]) for k in range(5)]
    reduced = cross_validate(lambda folds: summed(parts, folds), range(5), ALPHAS)
    monkeypatch.setattr(normal_equations, "BAND_ALPHAS", 100)
    plain = cross_validate(lambda folds: summed(parts, folds), range(5), ALPHAS)
    torch.testing.assert_close(torch.tensor(reduced.cv_error), torch.tensor(plain.cv_error), rtol=1e-8, atol=0)
    assert reduced.solution.alpha == plain.solution.alpha
    assert reduced.solution.weights[:2].eq(0).all()


def test_path_equals_the_plain_solve_and_leaves_the_statistics_alone() -> None:
    x = torch.randn(900, 280, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x * torch.logspace(-2, 2, 280, dtype=torch.float64) + 3
    y = x[:, :2].sin()
    statistics = equations(x, y)
    before = statistics.G.clone()
    path = ridge_path(statistics, ALPHAS)
    assert torch.equal(statistics.G, before)
    mean, deviation = x.mean(0), x.std(0, correction=0)
    standard = (x - mean) / deviation
    for alpha, solution in zip(ALPHAS, path, strict=True):
        assert solution is not None
        system = standard.T @ standard / len(x) + alpha * torch.eye(280, dtype=torch.float64)
        plain = torch.linalg.solve(system, standard.T @ (y - y.mean(0)) / len(x)) / deviation[:, None]
        torch.testing.assert_close(solution.weights, plain, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(solution.bias, y.mean(0) - mean @ plain, rtol=1e-8, atol=1e-8)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 999), st.sampled_from([1e-4, 1e-2, 1.0]))
def test_features_are_divided_by_a_hundredth_of_their_layers_at_least(
    widths: list[int], seed: int, alpha: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    p = sum(widths)
    x = torch.randn(3 * p + 9, p, generator=random, dtype=torch.float64) + 2
    x *= 10 ** (6 * torch.rand(p, generator=random, dtype=torch.float64) - 3)
    y = torch.randn(len(x), 1, generator=random, dtype=torch.float64)
    (found,) = ridge_path(replace(equations(x, y), widths=tuple(widths)), [alpha])
    deviation = x.std(0, correction=0)
    least = [FLOOR * part.square().mean().sqrt() for part in torch.split(deviation, widths)]
    divided = torch.maximum(deviation, torch.repeat_interleave(torch.stack(least), torch.tensor(widths)))
    shrunk = (x - x.mean(0)) / divided
    system = shrunk.T @ shrunk / len(x) + alpha * torch.eye(p, dtype=torch.float64)
    plain = torch.linalg.solve(system, shrunk.T @ (y - y.mean(0)) / len(x)) / divided[:, None]
    assert found is not None
    torch.testing.assert_close(found.weights * divided[:, None], plain * divided[:, None], rtol=1e-6, atol=1e-8)


def test_a_feature_that_hardly_ever_responds_does_not_decide_held_out_errors() -> None:
    """In one fold it responds as the others do, elsewhere a ten-thousandth as strongly, in two places."""
    x, y = (torch.randn(900, p, generator=torch.Generator().manual_seed(p), dtype=torch.float64) for p in (9, 1))
    x[:, 8] = torch.where(torch.arange(900) % 3 == 0, x[:, 8].relu(), 0.0)
    x[[1, 2], 8], y[[1, 2]] = 1e-4, 5.0
    parts = [equations(x[k::3], y[k::3]) for k in range(3)]
    alone = cross_validate(lambda folds: summed(parts, folds), range(3), [1e-3, 1e-1])
    layer = [replace(part, widths=(9,)) for part in parts]
    best = cross_validate(lambda folds: summed(layer, folds), range(3), [1e-3, 1e-1])
    assert min(alone.cv_error) > 100
    assert min(best.cv_error) < 1.2


def test_without_folds_there_is_a_choice_but_no_error() -> None:
    x, y = relu_like(50, 8, seed=2)
    best = cross_validate(lambda _: equations(x, y), [0], [0.1, 1.0, 100.0])
    assert (best.solution.alpha, best.cv_error, best.at_edge) == (1.0, (), False)
    (family,) = cross_validate_family(lambda _: equations(x, y), [0], [0.1, 1.0, 100.0], [Member(0)], 0)
    assert family is not None
    assert (family.solution.alpha, family.cv_error) == (1.0, ())
    groups = cross_validate_groups(lambda _: equations(x, y), [0], [0.1, 1.0, 100.0], (4, 4), steps=2)
    assert math.isnan(groups.best.cv_error)


@settings(max_examples=20)
@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
def test_squared_error_is_that_of_the_samples(seed: int, p: int, targets: int, alphas: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x, y, weights, bias = (
        torch.randn(*shape, generator=random, dtype=torch.float64)
        for shape in ((20, p), (20, targets), (alphas, p, targets), (alphas, targets))
    )
    plain = (y - x @ weights - bias[:, None]).square().sum(1)
    torch.testing.assert_close(equations(x, y).squared_error(weights, bias), plain, rtol=1e-9, atol=1e-9)


def test_an_alpha_no_fold_can_be_solved_with_is_not_chosen() -> None:
    x, y = relu_like(300, 1500, seed=4)
    x[:, 100:200] = x[:, :100] * 2.0  # singular
    parts = [equations(x[k::5], y[k::5]) for k in range(5)]
    for part in parts:
        part.G.diagonal().mul_(1 - 1e-4)  # and a little indefinite, as rounding may leave it
    best = cross_validate(lambda folds: summed(parts, folds), range(5), [1e-9, 1e-8, 1e-2, 0.1, 1.0])
    assert best.cv_error[0] == float("inf")
    assert best.solution.alpha >= 1e-2
    with pytest.raises(ValueError, match="larger alphas"):
        cross_validate(lambda folds: summed(parts, folds), range(5), [1e-9])
