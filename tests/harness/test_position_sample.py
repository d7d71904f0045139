"""The sample of positions: its size, its independence of batches and processes, and what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.grid import resize
from harness.position_sample import PositionSample
from harness.targets import target_map
from tests.harness.batches import GRID, LAYERS, random_batch

IDS = (5, 3, 11, 8, 2, 9, 4)
CELLS = GRID[0] * GRID[1]


def sampled(batches: Sequence[Sequence[int]], positions: int, n_images: int = len(IDS)) -> PositionSample:
    """Fed image numbers of IDS batch by batch, each with its turn."""
    sample = PositionSample(LAYERS, n_images, positions, seed=7)
    for numbers in batches:
        batch = replace(random_batch([IDS[i] for i in numbers]), turns=tuple(numbers))
        sample.add(batch, target_map("density", batch))
    return sample


def test_every_row_is_a_position_of_its_image() -> None:
    drawn = sampled([range(7)], positions=7 * 10).draw()
    assert drawn.features.shape == (70, 10)
    assert drawn.features.dtype == drawn.target.dtype == np.float32
    for image in IDS:
        batch = random_batch([image])
        rows = drawn.groups == image
        assert rows.sum() == 10
        maps = torch.cat([resize(batch.features[layer.name], GRID)[0] for layer in LAYERS]).flatten(1).T.numpy()
        target = target_map("density", batch).flatten().numpy()
        places = [np.flatnonzero((np.abs(maps - row) < 1e-6).all(1)).item() for row in drawn.features[rows]]
        assert len(set(places)) == 10
        np.testing.assert_array_equal(target[places], drawn.target[rows])


@given(order=st.permutations(range(7)), cut=st.integers(0, 7), positions=st.integers(1, 400))
@settings(max_examples=30)
def test_neither_order_nor_batches_nor_processes_matter(order: list[int], cut: int, positions: int) -> None:
    whole = sampled([range(7)], positions).draw()
    assert len(whole.target) <= positions
    in_parts = sampled([order[:cut], order[cut:]] if 0 < cut < 7 else [order], positions).draw()
    processes = [sampled([[i] for i in part], positions) for part in (order[:cut], order[cut:])]
    for name, tensor in processes[0].tensors().items():
        tensor.add_(processes[1].tensors()[name])
    for other in (in_parts, processes[0].draw()):
        for a, b in zip(whole, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_all_positions_where_there_are_few_and_as_many_as_asked_for_where_there_are_many() -> None:
    assert len(sampled([range(7)], positions=10_000).draw().target) == 7 * CELLS
    assert len(sampled([range(7)], positions=100).draw().target) == 100
    few = sampled([range(7)], positions=3).draw()
    assert len(few.target) == len(set(few.groups)) == 3


def test_images_that_never_came_leave_no_rows() -> None:
    drawn = sampled([[0, 1], [6]], positions=70).draw()
    assert sorted(set(drawn.groups)) == sorted(IDS[i] for i in (0, 1, 6))
    assert (drawn.target >= 0).all()


def test_memory_is_what_was_promised() -> None:
    sample = sampled([range(7)], positions=70)
    assert sum(t.numel() * t.element_size() for t in sample.tensors().values()) == sample.held_bytes()
    assert sample.draw().features.nbytes == sample.handover_bytes()


def test_uniform_over_the_grid() -> None:
    sample = PositionSample((), 1, 1, seed=0)
    counts = np.bincount(np.concatenate([sample._cells(i, CELLS, 12) for i in range(2000)]), minlength=CELLS)
    expected = 2000 * 12 / CELLS
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
