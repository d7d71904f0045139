"""Streamed channel statistics against the plain float64 computation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.channel_scale import ChannelScale


def draw(seed: int, offset: float, spread: float) -> list[torch.Tensor]:
    """Batches of several sizes, each image about a level of its own."""
    generator = torch.Generator().manual_seed(seed)
    return [
        offset + spread * (torch.randn(b, 3, h, w, generator=generator) + torch.randn(b, 3, 1, 1, generator=generator))
        for b, h, w in ((2, 5, 6), (1, 3, 9), (4, 1, 1))
    ]


@settings(max_examples=40, derandomize=True)
@given(
    seed=st.integers(0, 99),
    offset=st.sampled_from([0.0, 1.0, 100.0, -1e4]),
    spread=st.sampled_from([1e-3, 1.0, 50.0]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_mean_and_scale_equal_the_plain_computation(
    seed: int, offset: float, spread: float, dtype: torch.dtype
) -> None:
    scale = ChannelScale()
    parts = [part.to(dtype) for part in draw(seed, offset, spread)]
    for part in parts:
        scale.update({"layer": part})
    columns = torch.cat([part.double().movedim(1, 0).flatten(1) for part in parts], dim=1)
    mean, factor = scale.of("layer")
    std = columns.std(1, correction=0)
    torch.testing.assert_close(mean.double(), columns.mean(1), rtol=1e-6, atol=1e-6 * spread)
    alive = std**2 > 1e-9 * columns.square().mean(1)
    torch.testing.assert_close((factor.double() * std)[alive], torch.ones_like(std)[alive], rtol=0, atol=2e-6)


@pytest.mark.parametrize("value", [0.0, 1e-3, 0.1, 7e4])
def test_a_constant_channel_is_dead(value: float) -> None:
    scale = ChannelScale()
    for size in ((7, 9), (15, 20), (2, 3)):
        scale.update({"layer": torch.full((3, 2, *size), value)})
    assert scale.of("layer")[1].tolist() == [0.0, 0.0]
    assert not scale.far("layer")
