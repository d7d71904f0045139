"""Intervals, shares and Holm's correction against scipy, a textbook and their own algebra."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.statistics import bootstrap_interval, bootstrap_means, holm, intervals, seed_from, share_of_range, shares

scores = arrays(float, st.integers(2, 40), elements=st.floats(-1, 1, width=32))
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_the_interval_is_scipys() -> None:
    values = np.random.default_rng(0).gamma(2, size=120)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=1)
    np.testing.assert_allclose(
        bootstrap_interval(values, 2), theirs.confidence_interval, atol=0.1 * theirs.standard_error
    )


def test_the_resampled_means_are_means_of_draws_with_replacement() -> None:
    """Mean and variance of the bootstrap distribution are known: x-bar and sigma^2 / n."""
    values = np.array([[0.0], [1.0], [5.0], [-2.0]])
    means = bootstrap_means(values, 3, 40_000)
    assert means.mean() == pytest.approx(values.mean(), abs=0.02)
    assert means.var() == pytest.approx(values.var() / 4, rel=0.02)
    drawn = np.unique(np.round(means * 4).astype(int))
    assert set(drawn) == {sum(x) for x in np.array(np.meshgrid(*[[0, 1, 5, -2]] * 4)).reshape(4, -1).T}


def test_it_covers_the_true_mean_as_often_as_it_says() -> None:
    samples = np.random.default_rng(5).normal(0.7, 0.2, size=(40, 2000))
    found = np.array(list(intervals({str(i): column for i, column in enumerate(samples.T)}, 6).values()))
    covered = (found[:, 0] <= 0.7) & (found[:, 1] >= 0.7)
    assert covered.mean() == pytest.approx(0.95, abs=0.03)


@given(scores, st.integers(0, 2**64 - 1))
@settings(max_examples=50)
def test_the_interval_holds_the_mean(values: np.ndarray, seed: int) -> None:
    low, high = bootstrap_interval(values, seed, resamples=500)
    if np.ptp(values) == 0:
        assert (low, high) == (values[0], values[0])
    else:
        assert low <= values.mean() <= high


@given(scores, st.floats(-100, 100), st.floats(0.01, 100))
@settings(max_examples=50)
def test_the_interval_moves_and_stretches_with_the_scores(values: np.ndarray, shift: float, scale: float) -> None:
    before = np.array(bootstrap_interval(values, 1, resamples=500))
    np.testing.assert_allclose(bootstrap_interval(values + shift, 1, resamples=500), before + shift, atol=1e-10)
    np.testing.assert_allclose(bootstrap_interval(values * scale, 1, resamples=500), before * scale, atol=1e-10)


def test_metrics_together_are_the_metrics_alone() -> None:
    rng = np.random.default_rng(7)
    columns = {name: rng.normal(size=50) for name in ("cc", "nss", "sauc")}
    columns["nss"][3] = np.nan
    together = intervals(columns, 8)
    assert list(together) == ["cc", "nss", "sauc"]
    for name, column in columns.items():
        np.testing.assert_allclose(together[name], bootstrap_interval(column, 8), atol=1e-14)


def test_unscored_images_are_left_out() -> None:
    values = np.random.default_rng(9).normal(size=30)
    holed = np.insert(values, [0, 7, 30], np.nan)
    assert bootstrap_interval(holed, 1) == bootstrap_interval(values, 1)


@pytest.mark.parametrize("values", [[], [0.5], [np.nan, 0.5, np.nan], [np.nan, np.nan]])
def test_fewer_than_two_images_have_no_interval(values: list[float]) -> None:
    assert np.isnan(bootstrap_interval(np.array(values), 0)).all()


def test_an_infinite_score_leaves_no_interval_and_others_alone() -> None:
    values = np.random.default_rng(1).normal(size=20)
    found = intervals({"ig": np.append(values[1:], -np.inf), "cc": values}, 1)
    assert np.isnan(found["ig"]).all()
    assert found["cc"] == pytest.approx(bootstrap_interval(values, 1))


def test_the_seed_decides() -> None:
    values = np.random.default_rng(1).normal(size=30)
    assert bootstrap_interval(values, 1) == bootstrap_interval(values, 1)
    assert bootstrap_interval(values, 1) != bootstrap_interval(values, 2)
    assert seed_from("ab12", "images") == seed_from("ab12", "images") < 2**64
    assert len({seed_from("ab12"), seed_from("ab12", 1), seed_from("ab12", 2), seed_from("cd34", 1)}) == 4


def three(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of a cell, a floor and a ceiling that share the images' difficulty."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 0.1, n)
    cell, floor, ceiling = (mean + difficulty + rng.normal(0, 0.05, n) for mean in (0.7, 0.3, 0.9))
    return cell, floor, ceiling


def test_the_share_is_that_of_one_image_after_the_other() -> None:
    cell, floor, ceiling = three()
    rng = np.random.default_rng(1)
    drawn = rng.integers(80, size=(10_000, 80))
    by_hand = [(cell[i].mean() - floor[i].mean()) / (ceiling[i].mean() - floor[i].mean()) for i in drawn]
    share, low, high = share_of_range(cell, floor, ceiling, 2)
    assert share == pytest.approx((cell.mean() - floor.mean()) / (ceiling.mean() - floor.mean()))
    np.testing.assert_allclose([low, high], np.quantile(by_hand, [0.025, 0.975]), atol=0.002)


@pytest.mark.parametrize("n", [2, 3, 33, 80, 1000])
def test_the_floor_is_zero_and_the_ceiling_one(n: int) -> None:
    cell, floor, ceiling = three(n)
    columns = {"below": floor, "cell": cell, "above": ceiling}
    found = shares(columns, dict.fromkeys(columns, floor), dict.fromkeys(columns, ceiling), 3)
    assert found["below"] == (0, 0, 0) == share_of_range(floor, floor, ceiling, 3)
    assert found["above"] == (1, 1, 1) == share_of_range(ceiling, floor, ceiling, 3)
    assert found["cell"][1] < found["cell"][0] < found["cell"][2]


@given(st.floats(-10, 10), st.floats(0.1, 10) | st.floats(-10, -0.1))
@settings(max_examples=25)
def test_the_share_knows_no_unit_and_no_direction(shift: float, scale: float) -> None:
    before = share_of_range(*three(), 4, resamples=500)
    after = share_of_range(*(x * scale + shift for x in three()), 4, resamples=500)
    np.testing.assert_allclose(after, before, atol=1e-9)


def test_no_share_where_there_is_no_range() -> None:
    cell, floor, ceiling = three()
    assert np.isnan(share_of_range(cell, floor, floor, 1)).all()
    assert np.isnan(share_of_range(cell, floor, np.random.default_rng(2).permutation(floor), 1)).all()
    assert np.isnan(share_of_range(cell[:1], floor[:1], ceiling[:1], 1)).all()


def test_a_share_counts_the_images_scored_by_all_three() -> None:
    cell, floor, ceiling = three()
    cell[0], floor[1], ceiling[2] = np.nan, np.nan, np.nan
    assert share_of_range(cell, floor, ceiling, 5) == share_of_range(cell[3:], floor[3:], ceiling[3:], 5)


def test_holm_as_r_and_statsmodels_have_it() -> None:
    """The example of statsmodels' tests, made with R's multtest::mt.rawp2adjp."""
    raw = [
        *(0.838541367553, 0.642193923795, 0.680845947633, 0.967833824309, 0.71626938238),
        *(0.177096952723, 5.23656777208e-05, 0.0202732688798, 0.00028140506198, 0.0149877310796),
    ]
    adjusted = [1, 1, 1, 1, 1, 1, 5.23656777208e-04, 0.1419128821586, 0.00253264555782, 0.1199018486368]
    np.testing.assert_allclose(holm(raw), adjusted, rtol=1e-10)


def literal_holm(p: list[float]) -> list[float]:
    """Holm 1979, word for word: an adjusted value is the largest of (m - rank) p so far, at most 1."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, (len(p) - rank) * p[i])
        adjusted[i] = min(1.0, largest)
    return adjusted


@given(p_values)
def test_holm_is_the_textbooks(p: list[float]) -> None:
    adjusted = holm(p)
    np.testing.assert_allclose(adjusted, literal_holm(p), rtol=1e-15)
    assert (adjusted >= p).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


@given(p_values, st.data())
def test_holm_passes_nan_through_without_counting_it(p: list[float], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(p)))
    adjusted = holm([*p[:place], np.nan, *p[place:]])
    assert np.isnan(adjusted[place])
    np.testing.assert_array_equal(np.delete(adjusted, place), holm(p))


def test_holm_of_nothing() -> None:
    assert holm([]).shape == (0,)
    assert np.isnan(holm([np.nan])).all()
