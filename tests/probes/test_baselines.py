"""Centre, uniform, and the people themselves."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness import Context, Points
from probes.centre import Centre
from probes.observers import ObserversReadout, split_half
from probes.uniform import Uniform
from tests.harness.batches import random_batch

CPU = torch.device("cpu")


def context() -> Context:
    return Context((), n_images=4, n_folds=2, seed=0, device=CPU, _shared={})


def test_centre_is_the_mean_of_the_densities_each_image_weighing_the_same() -> None:
    trainer = Centre(raster=(12, 16)).trainer(context())
    few, many = random_batch([1, 2]), random_batch([3], points_per_image=500)
    trainer.update(few)
    trainer.update(many)
    densities = torch.cat([few.density.values, many.density.values])
    densities = densities / densities.sum((1, 2), keepdim=True)
    expected = torch.nn.functional.adaptive_avg_pool2d(densities.mean(0)[None], (12, 16))[0]
    found = trainer.readout()(few)
    torch.testing.assert_close(found[0] / found[0].sum(), expected / expected.sum(), rtol=1e-4, atol=1e-7)
    assert torch.equal(found[0], found[1])


def test_uniform_prefers_nothing() -> None:
    maps = Uniform().trainer(context()).readout()(random_batch([1]))
    assert maps.unique().numel() == 1


@given(st.lists(st.integers(0, 20), min_size=1, max_size=80), st.integers(0, 99), st.integers(0, 9))
def test_halves_are_disjoint_people_and_together_everybody(people: list[int], image: int, seed: int) -> None:
    n = len(people)
    points = Points(np.arange(n, dtype=np.int32), np.zeros(n, np.int32), np.array(people, np.int32))
    first, second = split_half(points, image, seed)
    assert not set(first.observer) & set(second.observer)
    assert sorted([*first.row, *second.row]) == list(range(n))
    assert len(set(first.observer)) == len(set(people)) // 2
    again = split_half(points, image, seed)
    assert np.array_equal(again[0].row, first.row)


def test_observers_predict_with_one_half_and_are_scored_against_the_other() -> None:
    batch, readout = random_batch([1, 2]), ObserversReadout(seed=3)
    assert torch.allclose(readout(batch).mean((1, 2)), torch.tensor(1.0), rtol=1e-4)
    scored = readout.scored_against(batch).fixations.values
    predicted = torch.stack(
        [split_half(p, i, 3)[0].counts(batch.size) for p, i in zip(batch.points, (1, 2), strict=True)]
    )
    assert torch.equal(scored + predicted, batch.fixations.values)
