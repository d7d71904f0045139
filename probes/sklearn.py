"""Any linear regressor of scikit-learn, or one with its interface, as a probe without code."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import field
from importlib import import_module
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import PlainProbe, probe
from harness.errors import PluginError, RecipeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
"""Of whole images, for estimators that choose a parameter by cross-validation and are not told how."""


@probe("sklearn")
class Sklearn(PlainProbe):
    """A linear regressor by its dotted name, fitted on a sample of positions (memory: see `positions`)."""

    estimator: str
    """Such as sklearn.linear_model.HuberRegressor: a class of an installed package with fit, predict and coef_."""
    params: dict[str, Any] = field(default_factory=dict)
    """What it is made with. A list is a sweep; a list for the estimator itself is written as the only item of one:
    `alphas: [[0.1, 1, 10]]`. A `cv` that is a number or not given becomes that many folds of whole images."""
    standardise: bool = False
    """Fit on channels scaled to mean 0 and standard deviation 1, and fold the scaling into the weights."""

    def __post_init__(self) -> None:
        """Raises RecipeError for an estimator that cannot be had, is not linear, or does not take `params`."""
        try:
            _try_out(self._make(seed=0))
        except PluginError as error:
            raise RecipeError(f"sklearn: {self.estimator}: {error}") from None

    @classmethod
    def sweep(cls, parameters: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Every combination of the items of the lists in `params`."""
        params = parameters.get("params")
        if not isinstance(params, Mapping):
            yield parameters
            return
        swept = {key: value for key, value in params.items() if isinstance(value, list)}
        for values in itertools.product(*swept.values()):
            yield {**parameters, "params": {**params, **dict(zip(swept, values, strict=True))}}

    @property
    def label(self) -> str:
        """The class and what it was told, such as HuberRegressor(epsilon=1.2)."""
        told = ", ".join(f"{key}={value}" for key, value in self.params.items())
        return self.estimator.rpartition(".")[2] + (f"({told})" if told else "")

    def fit(
        self, features: NDArray[Any], density: NDArray[Any], *, groups: NDArray[Any], seed: int
    ) -> tuple[NDArray[Any], float]:
        """Weights and bias in the features' own units."""
        mean, scale = np.zeros(features.shape[1]), np.ones(features.shape[1])
        if self.standardise:
            mean, scale = _moments(features)
            scale[scale == 0] = 1
            features = features - mean.astype(np.float32)
            features /= scale.astype(np.float32)
        model = self._make(seed)
        _split_by_image(model, groups)
        model.fit(features, density)
        weights, bias = linear_part(model, features[:200])
        weights = weights / scale
        return weights, bias - float(mean @ weights)

    def fitting_bytes(self, positions: int, channels: int) -> int:
        """The scaled features, and a copy in float64, which most estimators make."""
        return (8 + 4 * self.standardise) * positions * channels

    def _make(self, seed: int) -> Any:
        found = resolve(self.estimator)
        try:
            model = found(**self.params)
        except (TypeError, ValueError) as error:
            raise PluginError(f"params: {error}") from error
        known = _parameters_of(model)
        if "random_state" in known and "random_state" not in self.params:
            model.set_params(random_state=seed % 2**32)
        return model


def resolve(dotted: str) -> type[Any]:
    """The class of that name in an installed package; raises PluginError for anything else."""
    module, _, name = dotted.rpartition(".")
    if not module or dotted.partition(".")[0] not in packages_distributions():
        raise PluginError("is not in an installed package; write it in full, e.g. sklearn.linear_model.HuberRegressor")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"cannot be imported: {error}") from error
    if not isinstance(found, type) or not all(callable(getattr(found, method, None)) for method in ("fit", "predict")):
        raise PluginError("is not a class with fit and predict")
    return found


def linear_part(model: Any, features: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """(weights, bias) of a fitted model; raises PluginError where features @ weights + bias is not its prediction."""
    if not hasattr(model, "coef_"):
        raise PluginError(
            f"{type(model).__name__} has no coef_ after fitting: only linear models can be read out, try one of "
            "sklearn.linear_model"
        )
    weights = np.asarray(model.coef_, np.float64).reshape(-1)
    bias = float(np.asarray(getattr(model, "intercept_", 0.0), np.float64).reshape(-1)[0])
    predicted = np.asarray(model.predict(features), np.float64).reshape(-1)
    if weights.shape != (features.shape[1],):
        raise PluginError(f"has {weights.size} coefficients for {features.shape[1]} channels")
    if not np.allclose(
        features @ weights + bias, predicted, rtol=1e-3, atol=1e-3 * max(1e-12, np.abs(predicted).max())
    ):
        raise PluginError(f"{type(model).__name__} does not predict features @ coef_ + intercept_: it is not linear")
    return weights, bias


def _moments(features: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of every channel, float64, without a copy of all of them."""
    means, deviations = [], []
    for block in np.array_split(features, max(1, features.shape[1] // 64), axis=1):
        means.append(block.mean(0, dtype=np.float64))
        deviations.append(block.std(0, dtype=np.float64))
    return np.concatenate(means), np.concatenate(deviations)


def _try_out(model: Any) -> None:
    """Refuse what is not linear before hours of features; what needs more than a toy is judged by its own fit."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(features, (features @ [1.0, 2.0, 0.5] + rng.normal(size=60)) ** 2)
        except Exception:
            return
        linear_part(model, features)


def _split_by_image(model: Any, groups: NDArray[Any]) -> None:
    """Cross-validate over whole images: pixels of one image are not independent of each other."""
    known = _parameters_of(model)
    if "cv" not in known or not (known["cv"] is None or isinstance(known["cv"], int)):
        return
    from sklearn.model_selection import GroupKFold

    folds = min(known["cv"] or FOLDS, len(np.unique(groups)))
    if folds > 1:
        model.set_params(cv=list(GroupKFold(folds).split(groups, groups=groups)))


def _parameters_of(model: Any) -> dict[str, Any]:
    return dict(model.get_params(deep=False)) if hasattr(model, "get_params") else {}
