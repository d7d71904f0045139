"""Temperature and prior weight: Newton against an independent optimiser, and against the truth that made the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from harness.calibration import _Sample, calibration_rows, fit


def images(seed: int, gain: float, weight: float, n: int = 6, cells: int = 80, points: int = 400) -> list[_Sample]:
    """Fixations drawn from exp(gain z + weight log prior) for random z and one prior."""
    rng = np.random.default_rng(seed)
    prior = np.log(rng.dirichlet(np.full(cells, 3.0)))
    made = []
    for _ in range(n):
        z = rng.normal(size=cells)
        logits = gain * z + weight * prior
        p = np.exp(logits - logits.max())
        share = rng.multinomial(points, p / p.sum()) / points
        made.append(_Sample(*map(torch.from_numpy, (z, prior, share))))
    return made


def loss(parameters: np.ndarray, made: list[_Sample]) -> float:
    total = 0.0
    for image in made:
        logits = parameters @ image.features.numpy()
        total -= image.share.numpy() @ (logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max())
    return total / len(made)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(-2, 4), st.floats(-1, 2))
def test_newton_finds_what_scipy_finds(seed: int, gain: float, weight: float) -> None:
    made = images(seed, gain, weight)
    found = fit(made)
    assert found is not None
    other = minimize(loss, np.zeros(2), args=(made,), method="BFGS", options={"gtol": 1e-9})
    *parameters, used = found
    assert used == len(made)
    assert loss(np.array(parameters), made) <= other.fun + 1e-9
    np.testing.assert_allclose(parameters, other.x, rtol=1e-3, atol=1e-3)


def test_the_truth_is_recovered_from_many_fixations() -> None:
    found = fit(images(0, gain=1.5, weight=0.7, n=30, points=20_000))
    assert found == pytest.approx((1.5, 0.7, 30), abs=0.03)


def test_the_readouts_units_do_not_matter() -> None:
    made = images(1, 1.0, 1.0)
    scaled = [replace(s, logits=s.logits * 1e4) for s in made]
    (gain, weight, _), (scaled_gain, scaled_weight, _) = fit(made) or (), fit(scaled) or ()
    assert scaled_gain * 1e4 == pytest.approx(gain, rel=1e-6)
    assert scaled_weight == pytest.approx(weight, rel=1e-6)


def test_maps_without_information() -> None:
    made = images(2, 0.0, 1.0)
    flat = [replace(s, logits=torch.ones(80)) for s in made]
    gain, weight, _ = fit(flat) or ()
    assert gain == 0
    assert weight == pytest.approx(1.0, abs=0.2)
    broken = [replace(made[0], logits=torch.full((80,), torch.nan))]
    assert fit(broken) is None
    assert fit([]) is None


def test_the_images_are_a_seeded_choice() -> None:
    assert calibration_rows(5, 0) == [0, 1, 2, 3, 4]
    assert calibration_rows(500, 0) == calibration_rows(500, 0) != calibration_rows(500, 1)
    assert len(set(calibration_rows(500, 0))) == 64
