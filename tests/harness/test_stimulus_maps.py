"""A readout's maps at the stimulus' own resolution."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness.evaluation import stimulus_maps
from harness.grid import resize
from tests.harness.batches import random_batch


@pytest.mark.parametrize("value", [0.1, -3.7, 1.0, 0.0])
@pytest.mark.parametrize("grid", [(19, 25), (16, 12), (15, 20)])
def test_a_constant_map_stays_one(value: float, grid: tuple[int, int]) -> None:
    """Rounding would make a map of it, which ranks places."""
    batch = replace(random_batch([1, 2]), size=(500, 375))
    maps = torch.stack([torch.full(grid, value), torch.rand(grid)])
    flat, other = stimulus_maps(maps, batch)
    assert flat.shape == batch.size
    assert (flat == value).all()
    torch.testing.assert_close(other, resize(maps, batch.size)[1])
