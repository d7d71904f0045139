"""scikit-learn's regressors as probes: against scikit-learn itself, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import HuberRegressor, LassoCV, LinearRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from harness import LinearReadout
from harness.errors import RecipeError
from harness.plan import make_plan
from harness.position_sample import Drawn, PositionSample
from harness.recipe import parse_recipe
from harness.results import read_cells
from probes.sklearn import Sklearn
from tests.harness.batches import LAYERS, random_batch
from tests.harness.test_plain import context, fitted
from tests.harness.test_run import TINY, go

LINEAR = "sklearn.linear_model."


def drawn(positions: int, images: int = 6) -> Drawn:
    sample = PositionSample(LAYERS, images, positions, seed=context().seed)
    batch = random_batch(range(images))
    sample.add(batch, batch.target())
    return sample.draw()


def joined(readout: LinearReadout) -> Any:
    return torch.cat([readout.weights[layer.name] for layer in LAYERS]).numpy()


def test_it_is_what_scikit_learn_fits() -> None:
    for name, model, params in (
        ("LinearRegression", LinearRegression(), {}),
        ("HuberRegressor", HuberRegressor(epsilon=1.1, max_iter=1000), {"epsilon": 1.1, "max_iter": 1000}),
    ):
        readout = fitted(Sklearn(estimator=LINEAR + name, params=params, positions=200))
        X, y, _ = drawn(200)
        model.fit(X, y)
        np.testing.assert_allclose(joined(readout), model.coef_, rtol=1e-4, atol=1e-5)
        assert readout.bias == pytest.approx(model.intercept_, abs=1e-4)


def test_the_scaling_is_folded_into_the_weights() -> None:
    readout = fitted(Sklearn(estimator=LINEAR + "Ridge", params={"alpha": 30.0}, standardise=True, positions=200))
    X, y, _ = drawn(200)
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=30.0)).fit(X, y)
    np.testing.assert_allclose(X @ joined(readout) + readout.bias, pipeline.predict(X), rtol=1e-3, atol=1e-4)


def test_constant_channels_survive_the_scaling() -> None:
    X = np.column_stack([np.full(50, 3.0), np.linspace(0, 1, 50)]).astype(np.float32)
    settings = Sklearn(estimator=LINEAR + "LinearRegression", standardise=True)
    weights, bias = settings.fit(X, 2 * X[:, 1] + 1, groups=np.arange(50), seed=0)
    np.testing.assert_allclose(X @ weights + bias, 2 * X[:, 1] + 1, atol=1e-4)


def test_cross_validation_keeps_images_whole() -> None:
    params = {"cv": 3, "alphas": 5, "max_iter": 5000}
    readout = fitted(Sklearn(estimator=LINEAR + "LassoCV", params=params, positions=200))
    X, y, groups = drawn(200)
    folds = list(GroupKFold(3).split(X, groups=groups))
    model = LassoCV(cv=folds, alphas=5, max_iter=5000, random_state=context().seed).fit(X, y)
    np.testing.assert_allclose(joined(readout), model.coef_, rtol=1e-4, atol=1e-6)


def test_estimators_that_draw_are_seeded_by_the_cell() -> None:
    settings = Sklearn(estimator=LINEAR + "SGDRegressor", params={"eta0": 1e-4}, positions=100)
    np.testing.assert_array_equal(joined(fitted(settings)), joined(fitted(settings)))


@pytest.mark.parametrize(
    ("estimator", "params", "words"),
    [
        ("sklearn.ensemble.RandomForestRegressor", {"n_estimators": 3}, "no coef_ after fitting: only linear models"),
        (LINEAR + "PoissonRegressor", {}, "does not predict features @ coef_"),
        (LINEAR + "HuberRegresor", {}, "cannot be imported"),
        (LINEAR + "HuberRegressor", {"epsilom": 1}, "params: .*epsilom"),
        ("os.system", {}, "not in an installed package"),
        ("HuberRegressor", {}, "write it in full"),
        ("sklearn.preprocessing.StandardScaler", {}, "not a class with fit and predict"),
        ("sklearn.base.clone", {}, "not a class with fit and predict"),
    ],
)
def test_what_is_refused_before_anything_runs(estimator: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Sklearn(estimator=estimator, params=params)


def test_lists_in_params_are_a_grid() -> None:
    entry = {
        "name": "sklearn",
        "estimator": [LINEAR + "HuberRegressor", LINEAR + "Ridge"],
        "params": {"alpha": [0.1, 1.0], "max_iter": 200},
    }
    alphas = {"name": "sklearn", "estimator": LINEAR + "RidgeCV", "params": {"alphas": [[0.1, 1.0]]}}
    plan = make_plan(parse_recipe({**TINY, "layers": ["layer1"], "probes": [entry, alphas]}))
    assert [cell.probe_label for cell in plan.cells] == [
        "HuberRegressor(alpha=0.1, max_iter=200)",
        "HuberRegressor(alpha=1.0, max_iter=200)",
        "Ridge(alpha=0.1, max_iter=200)",
        "Ridge(alpha=1.0, max_iter=200)",
        "RidgeCV(alphas=[0.1, 1.0])",
    ]


def test_in_a_run(tmp_path: Path) -> None:
    entry = {"name": "sklearn", "estimator": LINEAR + "Ridge", "standardise": True, "positions": 300}
    outcome, _ = go(tmp_path, layers=["layer1"], probes=["ridge", entry])
    cells = read_cells(outcome.folder).set_index("probe")
    assert set(cells.status) == {"finished"}, list(cells.error)
    assert cells.cc["Ridge"] > 0
