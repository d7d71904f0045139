"""Streamed statistics on native grids against scikit-learn on explicitly resized features."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from harness.grid import resize
from harness.moments import Moments
from harness.normal_equations import CrossValidated, NormalEquations, cross_validate, ridge_path
from harness.position import POSITION, POSITION_TERMS, WINDOW, WINDOW_TERM, position_terms
from harness.readout import LinearReadout
from harness.types import Batch, LayerSpec, Points

GRID = (6, 8)
SIZES = {"fine": (6, 8), "coarse": (3, 4), "odd": (5, 3), "one": (1, 1)}
CHANNELS = {"fine": 3, "coarse": 5, "odd": 2, "one": 2}


def make_batches(seed: int, images: int = 12, per_batch: int = 5, folds: int = 3) -> list[Batch]:
    """Random features on awkward grids, float64, with random gaze."""
    rng = np.random.default_rng(seed)
    batches = []
    for start in range(0, images, per_batch):
        ids = tuple(range(start, min(start + per_batch, images)))
        points = tuple(Points(*(rng.integers(0, high, 9).astype(np.int32) for high in (48, 64, 3))) for _ in ids)
        features = {
            name: torch.from_numpy(rng.gamma(0.5, 2.0, (len(ids), CHANNELS[name], *size)))
            for name, size in SIZES.items()
        }
        batches.append(Batch(ids, (48, 64), GRID, points, features, tuple(i % folds for i in ids), sigma=3.0))
    return batches


def explicit(
    batches: list[Batch], layers: list[str], window: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(samples, targets, fold of each sample), with every feature map resized to the fitting grid."""
    c = torch.ones(GRID, dtype=torch.float64) if window is None else window

    def columns(batch: Batch, name: str) -> torch.Tensor:
        fixed = {POSITION: position_terms(GRID, torch.device("cpu")).double(), WINDOW: resize(c, GRID)[None]}
        if name in fixed:
            return fixed[name][None].expand(len(batch), -1, -1, -1)
        x = batch.features[name]
        return resize(x * resize(c, (x.shape[-2], x.shape[-1])), GRID)

    rows, targets, folds = [], [], []
    for batch in batches:
        maps = [columns(batch, name) for name in layers]
        rows.append(torch.cat(maps, 1).movedim(1, -1).reshape(-1, sum(m.shape[1] for m in maps)).numpy())
        targets.append(batch.target().double().flatten().numpy())
        folds.append(np.repeat(batch.folds, GRID[0] * GRID[1]))
    return np.concatenate(rows), np.concatenate(targets), np.concatenate(folds)


def specs(*names: str) -> list[LayerSpec]:
    fixed = {POSITION: POSITION_TERMS, WINDOW: WINDOW_TERM}
    return [fixed.get(name) or LayerSpec(name, CHANNELS[name], 1) for name in names]


def streamed(batches: list[Batch], layers: list[str], folds: int = 3, window: torch.Tensor | None = None) -> Moments:
    moments = Moments(folds, dtype=torch.float64, window=window)
    moments.need(specs(*layers), "density")
    for batch in batches:
        moments.update(batch)
    return moments


def by_fold(moments: Moments, layers: list[str]) -> list[NormalEquations]:
    return [moments.equations(layers, ["density"], [fold]) for fold in moments.folds]


def validated(moments: Moments, layers: list[str], alphas: list[float]) -> CrossValidated:
    return cross_validate(partial(moments.equations, layers, ["density"]), moments.folds, alphas)


@pytest.mark.parametrize(
    "layers",
    [["fine"], ["coarse"], ["odd"], ["one", "fine"], ["coarse", "fine", "odd"], [*SIZES, POSITION]],
)
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10.0])
def test_ridge_from_streamed_statistics_equals_scikit_learn(layers: list[str], alpha: float) -> None:
    batches = make_batches(seed=1)
    (ours,) = ridge_path(streamed(batches, layers).equations(layers, ["density"], range(3)), [alpha])
    assert ours is not None
    x, y, _ = explicit(batches, layers)
    scaler = StandardScaler().fit(x)
    theirs = SklearnRidge(alpha=alpha * len(x)).fit(scaler.transform(x), y)
    predicted = x @ ours.weights[:, 0].numpy() + ours.bias.item()
    np.testing.assert_allclose(ours.weights[:, 0].numpy(), theirs.coef_ / scaler.scale_, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(predicted, theirs.predict(scaler.transform(x)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("layers", [["coarse", WINDOW], [*SIZES, POSITION, WINDOW]])
@pytest.mark.parametrize("size", [GRID, (30, 40), (3, 2)])
def test_features_under_a_window_equal_weights_that_change_with_the_position(
    layers: list[str], size: tuple[int, int]
) -> None:
    window = torch.rand(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.1
    batches = make_batches(seed=6)
    (ours,) = ridge_path(streamed(batches, layers, window=window).equations(layers, ["density"], range(3)), [0.1])
    assert ours is not None
    x, y, _ = explicit(batches, layers, window)
    scaler = StandardScaler().fit(x)
    theirs = SklearnRidge(alpha=0.1 * len(x)).fit(scaler.transform(x), y)
    np.testing.assert_allclose(ours.weights[:, 0].numpy(), theirs.coef_ / scaler.scale_, rtol=1e-6, atol=1e-10)
    widths = [spec.channels for spec in specs(*layers)]
    parts = dict(zip(layers, torch.split(ours.weights[:, 0], widths), strict=True))
    readout = LinearReadout(parts, ours.bias.item(), window=window)
    maps = torch.cat([readout(batch).flatten() for batch in batches])
    np.testing.assert_allclose(maps.numpy(), theirs.predict(scaler.transform(x)), rtol=1e-4, atol=1e-5)


def test_cross_validation_equals_refitting_without_each_fold() -> None:
    layers, alphas = ["coarse", "fine"], [1e-4, 1e-2, 1.0]
    batches = make_batches(seed=2)
    best = validated(streamed(batches, layers), layers, alphas)
    x, y, fold = explicit(batches, layers)
    errors = []
    for alpha in alphas:
        total = 0.0
        for k in range(3):
            train = fold != k
            scaler = StandardScaler().fit(x[train])
            model = SklearnRidge(alpha=alpha * train.sum()).fit(scaler.transform(x[train]), y[train])
            total += ((model.predict(scaler.transform(x[~train])) - y[~train]) ** 2).sum()
        errors.append(total / len(y))
    np.testing.assert_allclose(best.cv_error, errors, rtol=1e-8)
    assert best.solution.alpha == alphas[int(np.argmin(errors))]


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12), st.permutations(list(SIZES)))
def test_batch_size_and_layer_order_do_not_matter(seed: int, per_batch: int, order: list[str]) -> None:
    plain = by_fold(streamed(make_batches(seed, per_batch=12), list(SIZES)), list(SIZES))
    whole = make_batches(seed, per_batch=12)[0]
    pieces = [whole.take(range(i, min(i + per_batch, 12))) for i in range(0, 12, per_batch)]
    again = by_fold(streamed(pieces, order), list(SIZES))
    for a, b in zip(plain, again, strict=True):
        assert a.n == b.n
        torch.testing.assert_close(a.G, b.G, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(a.c, b.c, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(a.m, b.m, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(a.yy, b.yy, rtol=1e-10, atol=1e-10)


def test_a_subset_of_layers_is_a_principal_submatrix() -> None:
    batches = make_batches(seed=3)
    whole = by_fold(streamed(batches, list(SIZES)), ["fine", "coarse"])
    alone = by_fold(streamed(batches, ["coarse"]), ["coarse"])
    for a, b in zip(whole, alone, strict=True):
        torch.testing.assert_close(a.G[3:, 3:], b.G)


def test_only_needed_blocks_are_kept() -> None:
    moments = Moments(1, dtype=torch.float64)
    moments.need(specs("fine"), "density")
    moments.need(specs("coarse", "odd"), "density")
    moments.update(make_batches(seed=4, folds=1)[0])
    moments.end_pass()
    assert {(a, b) for _, a, b in moments._blocks} == {
        ("fine", "fine"),
        ("coarse", "coarse"),
        ("coarse", "odd"),
        ("odd", "odd"),
    }


def test_dead_and_constant_features_get_weight_zero() -> None:
    batches = make_batches(seed=5)
    for batch in batches:
        batch.features["fine"][:, 0] = 0.0
        batch.features["fine"][:, 1] = 7.25
    best = validated(streamed(batches, ["fine"]), ["fine"], [1e-6, 1e-3])
    assert best.solution.weights[0, 0] == 0
    assert best.solution.weights[1, 0] == 0
    assert torch.isfinite(best.solution.weights).all()


def test_float32_products_stay_close_to_float64() -> None:
    layers = list(SIZES)
    batches = make_batches(seed=6)
    exact = by_fold(streamed(batches, layers), layers)
    rough = Moments(3)
    rough.need(specs(*layers), "density")
    for batch in batches:
        rough.update(batch)
    for a, b in zip(exact, by_fold(rough, layers), strict=True):
        assert b.G.dtype == torch.float64
        torch.testing.assert_close(a.G, b.G, rtol=1e-5, atol=1e-3)


@settings(max_examples=15)
@given(st.integers(0, 999), st.integers(1, 7), st.integers(1, 40))
def test_however_many_images_a_product_covers_the_sums_are_the_same(seed: int, per_batch: int, images: int) -> None:
    layers = list(SIZES)
    batches = make_batches(seed, per_batch=per_batch)
    plain = by_fold(streamed(batches, layers), layers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.moments.CELLS", images * GRID[0] * GRID[1])
        again = by_fold(streamed(batches, layers), layers)
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a.G, b.G, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(a.c, b.c, rtol=1e-10, atol=1e-10)


def test_a_batch_may_be_reused_once_it_was_added() -> None:
    plain = by_fold(streamed(make_batches(seed=7), ["fine"]), ["fine"])
    moments = Moments(3, dtype=torch.float64)
    moments.need(specs("fine"), "density")
    for batch in make_batches(seed=7):
        moments.update(batch)
        batch.features["fine"].fill_(torch.nan)
    for a, b in zip(plain, by_fold(moments, ["fine"]), strict=True):
        torch.testing.assert_close(a.G, b.G)


def test_sums_of_processes_add_up_to_those_of_one() -> None:
    layers, batches = list(SIZES), make_batches(seed=8, per_batch=2)
    plain = by_fold(streamed(batches, layers), layers)
    mine, other = streamed(batches[:1], layers), streamed(batches[1:], layers)
    assert mine.folds == [0, 1]
    for here, there in zip(mine.sums(), other.sums(), strict=True):
        for key, value in there.items():
            here[key] = here[key].add_(value) if key in here else value
    mine.end_pass()
    assert mine.folds == [0, 1, 2]
    for a, b in zip(plain, by_fold(mine, layers), strict=True):
        assert a.n == b.n
        torch.testing.assert_close(a.G, b.G)
        torch.testing.assert_close(a.c, b.c)


def test_images_of_different_sizes_in_turn() -> None:
    layers, batches = ["fine", "coarse"], make_batches(seed=9, per_batch=2)
    small = make_batches(seed=10, per_batch=2)
    for batch in small:
        batch.features["coarse"] = torch.ones(len(batch), CHANNELS["coarse"], 2, 3, dtype=torch.float64)
    apart = [by_fold(streamed(some, layers), layers) for some in (batches, small)]
    mixed = by_fold(streamed([b for pair in zip(batches, small, strict=True) for b in pair], layers), layers)
    for a, b, both in zip(*apart, mixed, strict=True):
        torch.testing.assert_close(a.G + b.G, both.G)
        torch.testing.assert_close(a.c + b.c, both.c)


def test_float32_is_good_enough_for_predictions() -> None:
    """Over thousands of positions: the predictions' relative error at a middle penalty is a few millionths."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(64, 24, 15, 20, generator=random).relu_() + 0.5
    point = Points(*(np.array([value], np.int32) for value in (20, 30, 0)))
    exact, rough = Moments(1, dtype=torch.float64), Moments(1)
    for moments in (exact, rough):
        moments.need([LayerSpec("x", 24, 1)], "density")
        for start in range(0, 64, 4):
            part = {"x": features[start : start + 4]}
            moments.update(Batch((1, 2, 3, 4), (48, 64), (15, 20), (point,) * 4, part, (0,) * 4, sigma=3.0))
    (a,), (b,) = (ridge_path(moments.equations(["x"], ["density"], [0]), [1e-2]) for moments in (exact, rough))
    assert a is not None
    assert b is not None
    x = features.movedim(1, -1).reshape(-1, 24).double()
    difference = x @ (a.weights - b.weights) + a.bias - b.bias
    assert difference.std() < 5e-6 * (x @ a.weights).std()


@pytest.mark.parametrize("value", [1e-3, 3.7, 123.456])
def test_a_constant_channel_gets_no_weight(value: float) -> None:
    """Its second moment in float32 is not the square of its mean to the last digit."""
    random = torch.Generator().manual_seed(0)
    moments, point = Moments(2), Points(*(np.array([at], np.int32) for at in (20, 30, 0)))
    moments.need([LayerSpec("x", 3, 1)], "density")
    for start in range(0, 48, 8):
        x = torch.randn(8, 3, 15, 20, generator=random)
        x[:, 1] = value
        folds = (start // 8 % 2,) * 8
        moments.update(Batch(tuple(range(8)), (48, 64), (15, 20), (point,) * 8, {"x": x}, folds, sigma=3.0))
    best = cross_validate(lambda folds: moments.equations(["x"], ["density"], folds), moments.folds, [1e-3, 1.0])
    assert best.solution.weights[1] == 0
    assert best.solution.weights[0] != 0
