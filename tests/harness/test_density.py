from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from harness.density import blur, blur_operator, blur_points, blur_to_grid, points_to_grid, sigma_for
from harness.grid import resize
from harness.types import FEW_POINTS, Batch, Points


def counts(h: int, w: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).poisson(0.2, (2, h, w)).astype(np.float64))


@settings(max_examples=60)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.3, 40))
def test_blur_is_scipys_gaussian_filter(h: int, w: int, sigma: float) -> None:
    """Also where sigma is larger than the image and the border is reflected many times."""
    x = counts(h, w)
    expected = np.stack([gaussian_filter(one, sigma, mode="reflect", truncate=4.0) for one in x.numpy()])
    np.testing.assert_allclose(blur(x, sigma).numpy(), expected, rtol=0, atol=1e-10)


def test_blur_at_the_size_of_salicon() -> None:
    x = counts(480, 640)
    expected = gaussian_filter(x[1].numpy(), 19.0, mode="reflect", truncate=4.0)
    np.testing.assert_allclose(blur(x, 19.0)[1].numpy(), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(blur(x.float(), 19.0)[1].numpy(), expected, rtol=1e-4)


@settings(max_examples=60)
@given(st.integers(1, 50), st.integers(1, 50), st.floats(0.3, 30), st.integers(1, 60), st.integers(1, 60))
def test_blur_to_a_grid_is_blur_then_resize(h: int, w: int, sigma: float, gh: int, gw: int) -> None:
    x = counts(h, w)
    expected = resize(blur(x, sigma), (gh, gw))
    torch.testing.assert_close(blur_to_grid(x, sigma, (gh, gw)), expected, rtol=0, atol=1e-10)


@given(st.integers(1, 80), st.floats(0.3, 100))
def test_the_sum_is_kept(length: int, sigma: float) -> None:
    """Reflecting borders make the operator symmetric, so its columns sum to one as its rows do."""
    operator = blur_operator(length, sigma)
    torch.testing.assert_close(operator, operator.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(operator.sum(0), torch.ones(length, dtype=torch.float64), rtol=0, atol=1e-12)


def test_sigma_scales_with_height() -> None:
    assert (sigma_for(480), sigma_for(240), sigma_for(960)) == (19.0, 9.5, 38.0)


# --- Points.counts and what a batch makes of it ------------------------------------------------------------------


def points(rows: list[int], cols: list[int], observers: list[int] | None = None) -> Points:
    observers = observers or [0] * len(rows)
    return Points(*(np.array(column, np.int32) for column in (rows, cols, observers)))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 10), st.integers(0, 3)), max_size=40))
def test_counts_count_every_point_once(gaze: list[tuple[int, int, int]]) -> None:
    columns = np.array(gaze, np.int32).reshape(-1, 3).T
    p = Points(*columns)
    expected = np.zeros((7, 11), np.int32)
    np.add.at(expected, (p.row, p.col), 1)
    found = p.counts((7, 11))
    assert found.dtype == torch.int32
    assert np.array_equal(found.numpy(), expected)
    halves = p.of(np.array([0, 2], np.int32)).counts((7, 11)) + p.of(np.array([1, 3], np.int32)).counts((7, 11))
    assert torch.equal(halves, found)


def test_corners_are_where_they_should_be() -> None:
    found = points([0, 0, 3, 3], [0, 5, 0, 5]).counts((4, 6))
    assert found.nonzero().tolist() == [[0, 0], [0, 5], [3, 0], [3, 5]]


def test_a_batch_has_density_and_counts_of_different_types() -> None:
    batch = Batch(
        ids=(1, 2),
        size=(24, 40),
        grid=(6, 10),
        points=(points([3, 3, 20], [30, 30, 2]), points([], [])),
        features={},
        folds=(0, 0),
        sigma=2.0,
    )
    assert batch.fixations.values[0, 3, 30] == 2
    assert batch.density.values.sum((1, 2)).tolist() == pytest.approx([3, 0], abs=1e-5)
    target = batch.target()
    assert target.shape == (2, 6, 10)
    assert target.mean((1, 2)).tolist() == pytest.approx([1, 0], abs=1e-6)
    exact = resize(batch.density.values, (6, 10))[0]
    torch.testing.assert_close(target[0], exact / exact.mean(), rtol=1e-4, atol=1e-5)


@given(st.integers(0, 10**6), st.integers(0, 400))
def test_points_on_a_grid_are_their_counts_blurred_and_averaged(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    size, grid, sigma = (48, 64), (5, 8), 3.0
    row, col = (rng.integers(0, length, n).astype(np.int32) for length in size)
    counts = torch.zeros(size, dtype=torch.float64)
    counts.index_put_((torch.from_numpy(row).long(), torch.from_numpy(col).long()), torch.ones(n).double(), True)
    expected = blur_to_grid(counts[None], sigma, grid)[0]
    torch.testing.assert_close(points_to_grid(row, col, size, sigma, grid), expected, rtol=1e-12, atol=1e-13)


@given(st.integers(0, 10**6), st.integers(0, 300))
def test_blurred_points_are_their_counts_blurred(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    size, sigma = (48, 64), 3.0
    made = Points(*(rng.integers(0, high, n).astype(np.int32) for high in (*size, 3)))
    expected = blur(made.counts(size).double()[None], sigma)[0]
    found = blur_points(made.row, made.col, size, sigma)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_many_points_and_few_have_the_same_density() -> None:
    rng = np.random.default_rng(0)
    many = Points(*(rng.integers(0, high, FEW_POINTS + 1).astype(np.int32) for high in (24, 40, 3)))
    few = Points(many.row[1:], many.col[1:], many.observer[1:])
    last = Points(many.row[:1], many.col[:1], many.observer[:1])
    whole, part, rest = (Batch((1,), (24, 40), (3, 5), (p,), {}, (0,), 2.0).density.values for p in (many, few, last))
    torch.testing.assert_close(whole, part + rest, rtol=1e-4, atol=1e-5)


@given(st.lists(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 10)), max_size=20), min_size=1, max_size=4))
def test_a_batch_counts_as_its_images_do(gaze: list[list[tuple[int, int]]]) -> None:
    each = tuple(points([row for row, _ in one], [col for _, col in one]) for one in gaze)
    n = len(each)
    batch = Batch(tuple(range(n)), size=(7, 11), grid=(2, 3), points=each, features={}, folds=(0,) * n, sigma=1.0)
    counts = batch.fixations.values
    assert counts.dtype == torch.int32
    assert torch.equal(counts, torch.stack([p.counts((7, 11)) for p in each]))
