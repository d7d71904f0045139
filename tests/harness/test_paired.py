"""Paired tests against scipy, enumeration and their own algebra; all pairs of a matrix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness import paired
from harness.paired import compare_cells, paired_difference, paired_tests
from harness.per_image import PerImage
from harness.statistics import bootstrap_interval, holm


def two(n: int, difference: float = 0.02, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0.6, 0.1, n)
    return difficulty + difference + rng.normal(0, 0.05, n), difficulty + rng.normal(0, 0.05, n)


def scipys_p(a: np.ndarray, b: np.ndarray, resamples: float) -> float:
    def surplus(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(x - y, axis=axis)

    test = scipy.stats.permutation_test(
        (a, b), surplus, permutation_type="samples", vectorized=True, n_resamples=resamples, rng=1
    )
    return float(test.pvalue)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 12])
@pytest.mark.parametrize("difference", [0, 0.03, -0.2])
def test_few_images_are_enumerated(n: int, difference: float) -> None:
    a, b = two(n, difference, seed=n)
    d = a - b
    sums = [abs(np.dot(signs, d)) for signs in itertools.product([1, -1], repeat=n)]
    p = paired_difference(a, b, 0).p_value
    assert p == np.mean(np.array(sums) >= abs(d.sum()) - 1e-12)
    if n > 1:
        assert p == pytest.approx(scipys_p(a, b, np.inf))


def test_many_images_are_flipped_at_random() -> None:
    a, b = two(60, 0.012)
    test = paired_difference(a, b, 1, flips=40_000)
    assert 0.01 < test.p_value < 0.5
    assert test.p_value == pytest.approx(scipys_p(a, b, 40_000), abs=0.01)
    assert test.p_value == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, abs=0.02)
    assert test.n == 60


def test_the_interval_is_that_of_the_differences() -> None:
    a, b = two(60)
    test = paired_difference(a, b, 1)
    assert test.difference == pytest.approx((a - b).mean())
    np.testing.assert_allclose([test.low, test.high], bootstrap_interval(a - b, 1), atol=1e-12)


def test_the_smallest_p_value_counts_the_observed_order() -> None:
    a, b = two(40, 1.0)
    assert paired_difference(a, b, 1, flips=999).p_value == 1 / 1000


def test_without_a_difference_few_p_values_are_small() -> None:
    columns = np.random.default_rng(3).normal(size=(40, 1000))
    tests = paired_tests(columns, [(i, i + 1) for i in range(0, 1000, 2)], 4, flips=2000)
    assert np.mean([test.p_value < 0.05 for test in tests]) == pytest.approx(0.05, abs=0.03)
    assert np.mean([test.p_value < 0.5 for test in tests]) == pytest.approx(0.5, abs=0.07)


images = st.integers(1, 30)


@given(images.flatmap(lambda n: arrays(float, (2, n), elements=st.floats(-1, 1, width=32) | st.just(np.nan))))
@settings(max_examples=60)
def test_turned_round_only_the_sign_changes(ab: np.ndarray) -> None:
    one, other = paired_difference(ab[0], ab[1], 5, flips=500), paired_difference(ab[1], ab[0], 5, flips=500)
    np.testing.assert_allclose(
        [one.difference, one.low, one.high], [-other.difference, -other.high, -other.low], atol=1e-14
    )
    np.testing.assert_equal(one.p_value, other.p_value)
    assert one.n == other.n == np.count_nonzero(~np.isnan(ab).any(axis=0))


@given(st.integers(2, 30), st.floats(-1, 1))
@settings(max_examples=30)
def test_what_both_gain_on_an_image_does_not_count(n: int, gain: float) -> None:
    a, b = two(n)
    gains = np.linspace(0, gain, n)
    before, after = paired_difference(a, b, 2, flips=500), paired_difference(a + gains, b + gains, 2, flips=500)
    assert after.difference == pytest.approx(before.difference, abs=1e-12)
    assert after.p_value == before.p_value


@pytest.mark.parametrize("n", [3, 50])
def test_a_cell_does_not_differ_from_itself(n: int) -> None:
    a, _ = two(n)
    test = paired_difference(a, a, 0)
    assert (test.difference, test.low, test.high, test.p_value) == (0, 0, 0, 1)


def test_only_images_scored_by_both_count() -> None:
    a, b = two(40)
    holed_a, holed_b = np.insert(a, 0, [0.3, np.nan]), np.insert(b, 0, [np.nan, 0.8])
    assert paired_difference(holed_a, holed_b, 1) == paired_difference(a, b, 1)
    nothing = paired_difference(np.array([np.nan, 1.0]), np.array([1.0, np.nan]), 1)
    assert nothing.n == 0
    assert np.isnan([nothing.difference, nothing.low, nothing.high, nothing.p_value]).all()


@pytest.mark.parametrize("n", [5, 40])
def test_an_infinite_score_has_no_p_value(n: int) -> None:
    a, b = two(n)
    a[0] = np.inf
    infinite, other = paired_tests(np.column_stack([a, b, b + 1]), [(0, 1), (1, 2)], 0)
    assert np.isnan([infinite.low, infinite.high, infinite.p_value]).all()
    assert other.p_value < 0.1


def per_image(columns: dict[str, np.ndarray]) -> dict[str, PerImage]:
    """By cell; images without a row where a cell has -1."""
    return {
        key: PerImage.of_rows({"image_id": 100 + i, "cc": value} for i, value in enumerate(column) if value != -1)
        for key, column in columns.items()
    }


@pytest.fixture
def cells() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(6)
    difficulty = rng.normal(0.6, 0.1, 50)
    found = {f"k{i}": difficulty + 0.01 * i + rng.normal(0, 0.03, 50) for i in range(5)}
    found["k1"][4] = np.nan
    found["k3"][7] = -1
    return found


def test_every_pair_once_with_the_numbers_of_the_pair_alone(cells: dict[str, np.ndarray]) -> None:
    labels = {key: f"cell {key}" for key in cells}
    frame = compare_cells(per_image(cells), labels, "cc", 9)
    assert list(zip(frame.cell_a, frame.cell_b, strict=True)) == list(itertools.combinations(cells, 2))
    assert (frame.label_a == "cell " + frame.cell_a).all()
    assert (frame.metric == "cc").all()
    np.testing.assert_array_equal(frame.p_holm, holm(frame.p_value))
    cells["k3"][7] = np.nan
    for row in frame.itertuples():
        alone = paired_difference(cells[row.cell_a], cells[row.cell_b], 9)
        assert (row.n, row.p_value) == (alone.n, alone.p_value)
        np.testing.assert_allclose(
            [row.difference, row.low, row.high], [alone.difference, alone.low, alone.high], atol=1e-12
        )
    assert set(frame.n) == {48, 49, 50}


def test_order_and_company_do_not_matter(cells: dict[str, np.ndarray]) -> None:
    table = per_image(cells)
    forth = compare_cells(table, dict.fromkeys(cells, ""), "cc", 1)
    rng = np.random.default_rng(0)
    shuffled = {
        key: PerImage.of_rows(rng.permutation(list(table[key])).tolist()) for key in rng.permutation(list(table))
    }
    back = compare_cells(shuffled, dict.fromkeys(reversed(cells), ""), "cc", 1)
    merged = forth.merge(back, left_on=["cell_a", "cell_b"], right_on=["cell_b", "cell_a"])
    assert len(merged) == 10
    np.testing.assert_allclose(merged.difference_x, -merged.difference_y, atol=1e-14)
    np.testing.assert_allclose(merged.low_x, -merged.high_y, atol=1e-14)
    np.testing.assert_array_equal(merged.p_value_x, merged.p_value_y)
    alone = compare_cells(table, {"k0": "", "k4": ""}, "cc", 1).iloc[0]
    among = forth.set_index(["cell_a", "cell_b"]).loc[("k0", "k4")]
    assert alone.p_value == among.p_value
    assert alone.low == pytest.approx(among.low, abs=1e-14)


def test_a_large_matrix_has_flips_enough_for_holm() -> None:
    """With 10,000 flips the smallest p-value times the 1,035 pairs of 46 cells would be 0.1, however large the gap."""
    rng = np.random.default_rng(0)
    columns = {f"k{i}": rng.normal(i // 23, 0.1, 100) for i in range(46)}
    frame = compare_cells(per_image(columns), dict.fromkeys(columns, ""), "cc", 1)
    across = frame.difference.abs() > 0.5
    assert (frame.p_holm[across] <= 0.01).all()
    assert (frame.p_holm[~across] > 0.01).all()


@given(st.integers(13, 40), st.integers(0, 99), st.floats(0, 4))
@settings(max_examples=25)
def test_sparing_flips_changes_no_small_p_value(n: int, seed: int, spread: float) -> None:
    """Against all flips for all pairs, made one after the other."""
    columns = np.random.default_rng(seed).normal(np.arange(6) * spread / 6, 1, (n, 6))
    pairs, flips = list(itertools.combinations(range(6), 2)), 20_000
    kept = paired._kept(n, np.random.default_rng(3), flips)
    for (i, j), test in zip(pairs, paired_tests(columns, pairs, 3, flips=flips), strict=True):
        d = columns[:, i] - columns[:, j]
        found = np.abs((2 * kept - 1) @ d) >= np.abs(d.sum()) - 1e-9
        spared, whole = (1 + found[:10_000].sum()) / 10_001, (1 + found.sum()) / (1 + flips)
        assert test.p_value == pytest.approx(spared if found[:10_000].sum() >= paired.PLAIN else whole, rel=1e-12)


def test_flips_in_vain_are_known_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bound passes over has no flip as extreme, and there is much of it."""
    columns = np.random.default_rng(1).normal(np.linspace(0, 4, 12), 1, (80, 12))
    pairs = list(itertools.combinations(range(12), 2))
    spared = paired_tests(columns, pairs, 2, flips=30_000)
    drawn: list[int] = []
    extreme = paired._extreme
    monkeypatch.setattr(paired, "_extreme", lambda *given: drawn.append(given[2].shape[1]) or extreme(*given))
    assert paired_tests(columns, pairs, 2, flips=30_000) == spared
    assert max(drawn) < len(pairs) / 2
    monkeypatch.setattr(paired, "IN_VAIN", 0)
    assert paired_tests(columns, pairs, 2, flips=30_000) == spared
    assert max(drawn) == len(pairs)


@pytest.mark.parametrize("keys", [[], ["k0"]])
def test_fewer_than_two_cells_make_no_pair(cells: dict[str, np.ndarray], keys: list[str]) -> None:
    frame = compare_cells(per_image(cells), dict.fromkeys(keys, ""), "cc", 1)
    assert len(frame) == 0
    assert {"cell_a", "label_b", "metric", "difference", "low", "high", "p_value", "p_holm", "n"} < set(frame.columns)


def test_a_cell_that_scored_nothing_is_a_row_without_numbers(cells: dict[str, np.ndarray]) -> None:
    cells["k2"][:] = np.nan
    frame = compare_cells(per_image(cells), dict.fromkeys(cells, ""), "cc", 1)
    empty = (frame.cell_a == "k2") | (frame.cell_b == "k2")
    assert (frame.n[empty] == 0).all()
    assert frame.p_holm[empty].isna().all()
    assert frame.p_holm[~empty].notna().all()
