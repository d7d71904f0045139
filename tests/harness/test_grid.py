from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from harness.grid import axis_operator, no_finer_than, resize

sizes = st.integers(1, 70)


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(sizes, sizes)
def test_constants_are_kept_and_nothing_is_negative(source: int, target: int) -> None:
    operator = axis_operator(source, target)
    assert operator.shape == (target, source)
    assert operator.min() >= 0
    torch.testing.assert_close(operator.sum(1), torch.ones(target, dtype=torch.float64), rtol=0, atol=1e-12)


@given(sizes, sizes)
def test_an_axis_reversed_is_the_axis_reversed(source: int, target: int) -> None:
    operator = axis_operator(source, target)
    torch.testing.assert_close(operator.flip(0, 1), operator, rtol=0, atol=1e-12)


@given(sizes, sizes, sizes, sizes)
def test_up_is_bilinear_with_pixel_centres(h: int, w: int, more_h: int, more_w: int) -> None:
    maps, size = random(2, h, w), (h + more_h, w + more_w)
    expected = functional.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(resize(maps, size), expected, rtol=0, atol=1e-12)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(1, 6))
def test_down_by_a_whole_factor_is_the_average_of_blocks(h: int, w: int, by_h: int, by_w: int) -> None:
    maps = random(3, h * by_h, w * by_w)
    expected = functional.adaptive_avg_pool2d(maps, (h, w))
    torch.testing.assert_close(resize(maps, (h, w)), expected, rtol=0, atol=1e-12)


@given(sizes, sizes)
def test_down_keeps_the_mean_at_any_ratio(source: int, target: int) -> None:
    target = min(source, target)
    values = random(source)
    averaged = axis_operator(source, target) @ values
    assert averaged.mean().item() == pytest.approx(values.mean().item(), abs=1e-12)


def test_a_cell_that_cuts_a_pixel_takes_its_share() -> None:
    expected = torch.tensor([[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], dtype=torch.float64)
    torch.testing.assert_close(axis_operator(3, 2), expected)


def test_the_same_size_is_the_same_map() -> None:
    maps = random(4, 5)
    assert resize(maps, (4, 5)) is maps


def test_one_axis_up_the_other_down() -> None:
    maps = random(2, 6, 8)
    expected = axis_operator(6, 9) @ maps @ axis_operator(8, 4).T
    torch.testing.assert_close(resize(maps, (9, 4)), expected)


def test_no_finer_than_leaves_coarser_axes_alone() -> None:
    maps = random(1, 2, 30, 10)
    torch.testing.assert_close(no_finer_than(maps, (15, 20)), resize(maps, (15, 10)))


def test_training_can_use_what_prediction_asked_for_first() -> None:
    """Kept operators must not be inference tensors, which autograd refuses."""
    size, target = (3, 5), (37, 41)
    with torch.inference_mode():
        resize(torch.ones(1, *size), target)
    maps = torch.ones(1, *size, requires_grad=True)
    resize(maps, target).sum().backward()  # type: ignore[no-untyped-call]
    assert maps.grad is not None
