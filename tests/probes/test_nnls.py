"""Streamed non-negative least squares against scipy's active set on explicit features."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls as scipy_nnls
from sklearn.preprocessing import StandardScaler

from harness import LinearReadout
from harness.normal_equations import NormalEquations, standardise
from probes.nnls import NNLS, non_negative
from tests.probes.plain import positions, stream, taught


@pytest.mark.parametrize("alpha", [1e-3, 0.1])
def test_equals_scipy_on_explicit_features(alpha: float) -> None:
    batches = stream()
    readout = taught(NNLS(alphas=(alpha,)), batches)
    assert isinstance(readout, LinearReadout)
    x, y = positions(batches)
    scaler = StandardScaler().fit(x)
    standard = scaler.transform(x)
    root = np.sqrt(alpha * len(y)) * np.eye(x.shape[1])
    theirs, _ = scipy_nnls(np.vstack([standard, root]), np.concatenate([y - y.mean(), np.zeros(x.shape[1])]))
    ours = torch.cat([readout.weights["fine"], readout.weights["coarse"]]).double().numpy()
    np.testing.assert_allclose(ours * scaler.scale_, theirs, rtol=1e-3, atol=1e-5)
    found = torch.cat([readout(batch).flatten() for batch in batches]).numpy()
    np.testing.assert_allclose(found, standard @ theirs + y.mean(), rtol=1e-3, atol=1e-4)
    assert readout.info["nonzero_channels"] == np.count_nonzero(theirs)


@given(st.integers(0, 999), st.floats(1e-4, 10.0))
@settings(max_examples=25)
def test_the_optimum_has_no_way_down(seed: int, alpha: float) -> None:
    """Karush, Kuhn and Tucker: no slope where a weight is used, none that would raise an unused one."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(80, 8, generator=random, dtype=torch.float64) + torch.randn(80, 1, generator=random)
    y = torch.randn(80, 1, generator=random, dtype=torch.float64)
    statistics = NormalEquations(x.T @ x, x.T @ y, x.sum(0), y.sum(0), y.square().sum(0), 80.0)
    problem = standardise(statistics)
    C, r = problem.C.clone(), problem.r[:, 0].clone()
    weights, exists = non_negative(problem, (alpha,))
    v = weights[0, :, 0]
    slope = r - C @ v - alpha * v
    assert exists.all()
    assert (v >= 0).all()
    assert (slope[v > 0].abs() < 1e-4).all()
    assert (slope[v == 0] < 1e-4).all()


def test_what_a_sweep_reports() -> None:
    info = taught(NNLS(), stream()).info
    assert info["alpha"] in info["alphas"] == list(NNLS().alphas)
    assert 0 <= info["nonzero_channels"] <= info["channels"] == 10
    assert json.loads(json.dumps(info)) == info
    with pytest.raises(ValueError, match="must be positive"):
        NNLS(alphas=(0.0,))
