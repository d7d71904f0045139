"""scikit-learn on stored features: the same ridge and the same linear model by SGD, one layer set after the other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.machine import stream_settings
from harness.normal_equations import FLOOR
from harness.plan import Plan
from harness.readout import LinearReadout
from harness.readout_files import load_readout
from harness.results import read_cells
from harness.stream import Stream
from tests.benchmarks.forward import CPU, load
from tests.benchmarks.peers import LEARNING_RATE, Peer, concatenated, layer_sets
from tests.benchmarks.workload import EPOCHS, Job, plan_for

ALPHAS = tuple(10.0**power for power in range(-6, 3))
FOLDS = 5
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Stored:
    """Features and targets of all training images in memory, a row per position, image after image."""

    X: Floats
    y: Floats
    image: NDArray[np.int64]
    """Which image a row is of."""
    columns: dict[str, slice]
    sets: dict[str, list[str]]
    seconds: float
    """Decoding, the network and keeping its features."""

    def of(self, names: list[str]) -> Floats:
        """The columns of these layers."""
        return np.concatenate([self.X[:, self.columns[name]] for name in names], axis=1)


def store(plan: Plan) -> Stored:
    """One pass of the training images through our own stream, kept on the fitting grid."""
    group, sets = layer_sets(plan)
    settings = stream_settings(plan.recipe, plan.reader, CPU)
    backbone = load(group, settings)
    dataset = plan.reader.read("train")
    start = time.perf_counter()
    rows, targets, sizes = [], [], []
    for batch in Stream(dataset, settings, CPU, backbone, group.layers).batches():
        features = {layer.name: batch.features[layer.name] for layer in group.layers}
        rows.append(concatenated(features, batch.grid).movedim(1, -1).flatten(0, 2).numpy())
        targets.append(batch.target().flatten().numpy())
        sizes += [batch.grid[0] * batch.grid[1]] * len(batch)
    ends = np.cumsum([layer.channels for layer in group.layers]).tolist()
    columns = {layer.name: slice(end - layer.channels, end) for layer, end in zip(group.layers, ends, strict=True)}
    X, y, image = np.concatenate(rows), np.concatenate(targets), np.repeat(np.arange(len(sizes)), sizes)
    return Stored(X, y, image, columns, sets, time.perf_counter() - start)


def sklearn_ridge(job: Job, budget_s: float) -> Peer:
    """StandardScaler, then Ridge (Cholesky) for every fold and alpha and once more on all, per layer set.

    A set's fits run one after the other until `budget_s` is used; the rest count as much as those on average (their
    sizes differ by an image at most). Scaling is done once a fold, not once a fit, in scikit-learn's favour.
    """
    stored = store(plan_for(job, ("ridge",)))
    total, details = stored.seconds, {}
    for name, layers in stored.sets.items():
        seconds, fits_run, n_fits = _ridge_fits(stored.of(layers), stored.y, stored.image, budget_s)
        total += seconds
        details[name] = {"seconds": seconds, "fits": n_fits, "fits_run": fits_run}
    return Peer(total, {"storing_seconds": stored.seconds, "scikit_learn_by_layer_set": details})


def _ridge_fits(X: Floats, y: Floats, image: NDArray[np.int64], budget_s: float) -> tuple[float, int, int]:
    """(seconds of all fits of a layer set, how many were run, how many there are)."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold
    from sklearn.preprocessing import StandardScaler

    scaling: list[float] = []
    fitting: list[float] = []
    for train, held_out in GroupKFold(FOLDS).split(X, y, image):
        start = time.perf_counter()
        scaler = StandardScaler().fit(X[train])
        x, x_held_out = scaler.transform(X[train]), scaler.transform(X[held_out])
        scaling.append(time.perf_counter() - start)
        for alpha in ALPHAS:
            start = time.perf_counter()
            model = Ridge(alpha=alpha * len(train), solver="cholesky").fit(x, y[train])
            np.mean((model.predict(x_held_out) - y[held_out]) ** 2)
            fitting.append(time.perf_counter() - start)
            if sum(scaling) + sum(fitting) > budget_s:
                break
        if sum(scaling) + sum(fitting) > budget_s:
            break
    n_fits = FOLDS * len(ALPHAS) + 1  # the last one on all folds
    return (FOLDS + 1) * float(np.mean(scaling)) + n_fits * float(np.mean(fitting)), len(fitting), n_fits


def sklearn_sgd(job: Job) -> Peer:
    """StandardScaler, then SGDRegressor.partial_fit for five epochs in a shuffled order, per layer set."""
    from sklearn.linear_model import SGDRegressor
    from sklearn.preprocessing import StandardScaler

    stored = store(plan_for(job, ("ridge",)))
    details = {}
    order = np.random.default_rng(0)
    for name, layers in stored.sets.items():
        start = time.perf_counter()
        X = StandardScaler().fit_transform(stored.of(layers))
        model = SGDRegressor(learning_rate="constant", eta0=LEARNING_RATE / X.shape[1], random_state=0)
        for _ in range(EPOCHS):
            rows = order.permutation(len(X))
            model.partial_fit(X[rows], stored.y[rows])
        details[name] = {"seconds": time.perf_counter() - start}
    total = stored.seconds + sum(row["seconds"] for row in details.values())
    return Peer(total, {"storing_seconds": stored.seconds, "scikit_learn_by_layer_set": details})


def ridge_difference(job: Job, results: Path, layer_set: str) -> dict[str, float]:
    """How far a finished run's ridge is from scikit-learn's (float64) at the same alpha, on the training images.

    Channels below their layer's floor are divided by it, as ours are.
    """
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    cells = read_cells(results)
    (row,) = cells[(cells.layers == layer_set) & (cells.probe == "ridge")].itertuples()
    ours = load_readout(results / "cells" / row.cell_key)
    assert isinstance(ours, LinearReadout)
    stored = store(plan_for(job, ("ridge",)))
    X = stored.of(stored.sets[layer_set]).astype(np.float64)
    scaler = StandardScaler().fit(X)
    widths = [len(ours.weights[name]) for name in stored.sets[layer_set]]
    floors = [FLOOR * np.sqrt(layer.mean()) for layer in np.split(scaler.var_, np.cumsum(widths)[:-1])]
    scaler.scale_ = np.maximum(scaler.scale_, np.repeat(floors, widths))
    theirs = Ridge(alpha=ours.info["alpha"] * len(X), solver="cholesky").fit(scaler.transform(X), stored.y)
    weights = np.concatenate([ours.weights[name].double().numpy() for name in stored.sets[layer_set]])
    predicted, expected = X @ weights + ours.bias, theirs.predict(scaler.transform(X))
    scaled = weights * scaler.scale_
    return {
        "largest_weight_difference": _relative(scaled, theirs.coef_),
        "largest_prediction_difference": _relative(predicted, expected),
    }


def _relative(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """The largest difference, in standard deviations of what was expected."""
    return float(np.abs(found - expected).max() / expected.std())
