from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.moments import Moments
from harness.normal_equations import ridge_path
from harness.targets import TARGETS, mixed, target_map
from harness.types import Points
from tests.harness.batches import LAYERS, random_batch


def test_targets_of_an_image_weigh_the_same_whatever_their_peaks() -> None:
    batch = random_batch(range(4))
    density = batch.target().double().numpy()
    for name, plain in (("standardised", density), ("root", np.sqrt(density))):
        centred = plain - plain.mean((1, 2), keepdims=True)
        expected = centred / plain.std((1, 2), keepdims=True)
        np.testing.assert_allclose(target_map(name, batch).numpy(), expected, rtol=1e-4, atol=1e-4)
    nobody = replace(batch, points=tuple(Points(*(np.zeros(0, np.int32) for _ in range(3))) for _ in range(4)))
    assert not any(target_map(name, nobody).any() for name in (*TARGETS, mixed(0.25)))


@pytest.mark.parametrize("name", ["", "roots", "standardised-root", "standardised-root1.5", "standardised-rootnan"])
def test_a_target_that_there_is_not(name: str) -> None:
    batch = random_batch([7])
    with pytest.raises(ValueError, match="there is no target"):
        target_map(name, batch)


@settings(max_examples=20)
@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_a_fit_to_a_mixture_is_the_mixture_of_the_fits(share: float, seed: int) -> None:
    names = ["standardised", "root", mixed(share)]
    moments = Moments(3, dtype=torch.float64)
    for name in names:
        moments.need(LAYERS, name)
    for start in range(seed, seed + 12, 4):
        moments.update(random_batch(range(start, start + 4)))
    (found,) = ridge_path(moments.equations([layer.name for layer in LAYERS], names, moments.folds), [0.1])
    assert found is not None
    plain = (1 - share) * found.weights[:, 0] + share * found.weights[:, 1]
    torch.testing.assert_close(found.weights[:, 2], plain, rtol=1e-4, atol=1e-7)
