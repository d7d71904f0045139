"""The streamed partial least squares against scikit-learn's on explicit features."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression

from harness import LinearReadout
from harness.normal_equations import NormalEquations, ridge_path, standardise
from probes.pls import PLS, partial_least_squares
from tests.probes.plain import positions, stream, taught


@pytest.mark.parametrize("components", [1, 2, 4, 9])
def test_equals_scikit_learn_on_explicit_features(components: int) -> None:
    batches = stream()
    readout = taught(PLS(components=(components,)), batches)
    assert isinstance(readout, LinearReadout)
    x, y = positions(batches)
    theirs = PLSRegression(n_components=components, scale=True).fit(x, y)
    ours = torch.cat([readout.weights["fine"], readout.weights["coarse"]]).numpy()
    np.testing.assert_allclose(ours, theirs.coef_[0], rtol=1e-3, atol=1e-5)
    found = torch.cat([readout(batch).flatten() for batch in batches]).numpy()
    np.testing.assert_allclose(found, theirs.predict(x).ravel(), rtol=1e-3, atol=1e-3)


@given(st.integers(0, 999), st.integers(1, 9), st.integers(0, 3))
@settings(max_examples=25)
def test_all_components_are_least_squares_and_more_do_not_hurt(seed: int, p: int, dead: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(60, p + dead, generator=random, dtype=torch.float64)
    x[:, p:] = 3.0  # constant features
    y = torch.randn(60, 1, generator=random, dtype=torch.float64)

    def statistics() -> NormalEquations:
        return NormalEquations(x.T @ x, x.T @ y, x.sum(0), y.sum(0), y.square().sum(0), 60.0)

    problem = standardise(statistics())
    weights, exists = partial_least_squares(problem, (p, p + 5))
    own, _ = problem.in_own_units(weights)
    (plain,) = ridge_path(statistics(), (1e-14,))
    assert plain is not None
    assert exists.all()
    torch.testing.assert_close(own[0], plain.weights, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(own[1], own[0], rtol=1e-9, atol=1e-9)


def test_a_target_that_nothing_explains_gets_no_weights() -> None:
    statistics = NormalEquations(
        torch.eye(3).double() * 9, torch.zeros(3, 1).double(), torch.zeros(3).double(), torch.zeros(1).double(),
        torch.ones(1).double(), 9.0,
    )  # fmt: skip
    weights, exists = partial_least_squares(standardise(statistics), (1, 2))
    assert exists.all()
    assert not weights.any()


def test_what_a_sweep_reports() -> None:
    info = taught(PLS(), stream()).info
    assert info["components"] in info["tried"] == list(PLS().components)
    assert json.loads(json.dumps(info)) == info
    assert PLS(position=True, target="standardised").label == "pls-standardised-position"
    with pytest.raises(ValueError, match="positive numbers"):
        PLS(components=(0,))
