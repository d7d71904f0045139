"""The streamed elastic net against scikit-learn's on explicit features."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.preprocessing import StandardScaler

from harness import LinearReadout
from harness.normal_equations import NormalEquations, standardise
from probes.elastic_net import ElasticNet, Path
from tests.probes.plain import positions, stream, taught


@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_equals_scikit_learn_on_explicit_features(l1_ratio: float) -> None:
    batches = stream()
    readout = taught(ElasticNet(l1_ratio=l1_ratio, penalties=(0.2,), tolerance=1e-10), batches)
    assert isinstance(readout, LinearReadout)
    x, y = positions(batches)
    scaler = StandardScaler().fit(x)
    standard = scaler.transform(x)
    largest = np.abs(standard.T @ (y - y.mean())).max() / len(y) / l1_ratio
    theirs = SklearnElasticNet(alpha=0.2 * largest, l1_ratio=l1_ratio, tol=1e-10, max_iter=9999).fit(standard, y)
    ours = torch.cat([readout.weights["fine"], readout.weights["coarse"]]).double().numpy()
    np.testing.assert_allclose(ours * scaler.scale_, theirs.coef_, rtol=1e-4, atol=1e-6)
    found = torch.cat([readout(batch).flatten() for batch in batches]).numpy()
    np.testing.assert_allclose(found, theirs.predict(standard), rtol=1e-4, atol=1e-5)
    assert readout.info["nonzero_channels"] == np.count_nonzero(theirs.coef_) < 10


@settings(max_examples=20)
@given(st.integers(0, 999), st.floats(0.05, 1.0), st.floats(0.01, 1.0))
def test_the_optimum_has_no_way_down(seed: int, l1_ratio: float, penalty: float) -> None:
    """The subgradient: every used channel's slope is its penalty's, every unused one's is smaller."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(80, 7, generator=random, dtype=torch.float64) * torch.logspace(-2, 2, 7) + 1
    y = torch.randn(80, 1, generator=random, dtype=torch.float64)
    statistics = NormalEquations(x.T @ x, x.T @ y, x.sum(0), y.sum(0), y.square().sum(0), 80.0)
    problem = standardise(statistics)
    weights, exists = Path(ElasticNet(l1_ratio=l1_ratio, tolerance=1e-12))(problem, [penalty])
    alpha = penalty * problem.r.abs().max() / l1_ratio
    v = weights[0, :, 0]
    slope = problem.r[:, 0] - problem.C @ v - alpha * (1 - l1_ratio) * v
    bound = alpha * l1_ratio
    used = v != 0
    assert exists.all()
    torch.testing.assert_close(slope[used], bound * v[used].sign(), rtol=1e-4, atol=1e-7)
    assert (slope[~used].abs() <= bound * (1 + 1e-6) + 1e-9).all()


def test_the_largest_penalty_leaves_no_weight_and_smaller_ones_more_and_more() -> None:
    used = [
        taught(ElasticNet(penalties=(penalty,)), stream()).info["nonzero_channels"] for penalty in (1.0, 0.5, 0.1, 1e-4)
    ]
    assert used[0] == 0
    assert used == sorted(used)
    assert used[-1] == 10


def test_what_a_sweep_reports() -> None:
    info = taught(ElasticNet(), stream()).info
    assert info["nonzero_channels"] == sum(info["nonzero"].values()) <= info["channels"] == 10
    assert info["penalties"] == list(ElasticNet().penalties)
    assert info["penalty"] == info["penalties"][int(np.argmin(info["cv_error"]))]
    assert json.loads(json.dumps(info)) == info


def test_fits_that_end_too_early_are_told() -> None:
    info = taught(ElasticNet(sweeps=1, tolerance=1e-12, penalties=(0.1, 1e-4, 1e-5)), stream()).info
    assert any("raise sweeps" in warning for warning in info["warnings"])


def test_labels_and_mistakes() -> None:
    assert ElasticNet(l1_ratio=1.0).label == "lasso"
    assert ElasticNet(l1_ratio=0.25, position=True).label == "elastic-net-0.25-position"
    with pytest.raises(ValueError, match="0 is ridge"):
        ElasticNet(l1_ratio=0.0)
    with pytest.raises(ValueError, match="penalties must be positive"):
        ElasticNet(penalties=(0.0,))
