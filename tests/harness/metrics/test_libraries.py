"""The metrics against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import auc as area
from sklearn.metrics import roc_auc_score

from harness.metrics import auc, auc_judd, auc_map, cc, ig, kld, mse, nss, sauc, sim
from tests.harness.metrics.scenes import Scene, scenes

few = settings(max_examples=15)


def flat(values: torch.Tensor) -> np.ndarray:
    return values[0].flatten().numpy()


@few
@given(scenes)
def test_cc_is_scipys_pearsonr(s: Scene) -> None:
    expected = stats.pearsonr(flat(s.maps), flat(s.density)).statistic
    assert cc(s.maps, s.density)[0].item() == pytest.approx(expected, abs=1e-12)


@few
@given(scenes)
def test_nss_is_the_mean_of_scipys_zscore(s: Scene) -> None:
    expected = np.average(stats.zscore(flat(s.maps)), weights=flat(s.fixations))
    assert nss(s.maps, s.fixations)[0].item() == pytest.approx(expected, abs=1e-12)


@few
@given(scenes)
def test_kld_is_scipys_entropy_where_eps_does_not_matter(s: Scene) -> None:
    prediction = s.maps - s.maps.amin((1, 2), keepdim=True) + 0.1
    expected = stats.entropy(flat(s.density), flat(prediction))
    assert kld(prediction, s.density)[0].item() == pytest.approx(expected, abs=1e-9)


@few
@given(scenes)
def test_sim_is_one_minus_half_the_absolute_difference(s: Scene) -> None:
    def normal(x: np.ndarray) -> np.ndarray:
        return (x - x.min()) / (x - x.min()).sum()

    expected = 1 - 0.5 * np.abs(normal(flat(s.maps)) - normal(flat(s.density))).sum()
    assert sim(s.maps, s.density)[0].item() == pytest.approx(expected, abs=1e-12)


def weighted_auc(values: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    label = np.repeat([1, 0], len(values))
    return float(roc_auc_score(label, np.tile(values, 2), sample_weight=np.concatenate([positive, negative])))


@few
@given(scenes)
def test_auc_and_sauc_are_sklearns_with_counts_as_weights(s: Scene) -> None:
    values, fixated = flat(s.maps), flat(s.fixations)
    assert auc(s.maps, s.fixations)[0].item() == pytest.approx(
        weighted_auc(values, fixated, np.ones_like(fixated)), abs=1e-12
    )
    assert sauc(s.maps, s.fixations, s.others)[0].item() == pytest.approx(
        weighted_auc(values, fixated, flat(s.others)), abs=1e-12
    )


@few
@given(scenes)
def test_auc_judd_is_the_area_under_lines_between_the_fixated_thresholds(s: Scene) -> None:
    values, fixated = flat(s.maps), flat(s.fixations) > 0
    thresholds = np.unique(values[fixated])[::-1]
    hits = [(values[fixated] >= t).mean() for t in thresholds]
    alarms = [(values[~fixated] >= t).mean() for t in thresholds]
    expected = area([0, *alarms, 1], [0, *hits, 1])
    assert auc_judd(s.maps, s.fixations)[0].item() == pytest.approx(expected, abs=1e-12)


@few
@given(scenes)
def test_ig_is_the_mean_difference_of_log2(s: Scene) -> None:
    fixated, p, b = flat(s.fixations), flat(s.maps.exp()), flat(s.density)
    expected = np.average(np.log2(p) - np.log2(b), weights=fixated)
    assert ig(s.maps, s.fixations, s.density.log())[0].item() == pytest.approx(expected, abs=1e-12)


@few
@given(scenes)
def test_auc_map_is_sklearns_with_the_upper_half_of_the_density_as_positives(s: Scene) -> None:
    expected = roc_auc_score(flat(s.density) > 0.5 * flat(s.density).max(), flat(s.maps))
    assert auc_map(s.maps, s.density)[0].item() == pytest.approx(expected, abs=1e-12)


@few
@given(scenes, st.sampled_from([0.1, 1.0, 30.0]))
def test_mse_is_a_loop_over_the_pixels(s: Scene, scale: float) -> None:
    maps = scale * s.maps / s.maps.abs().amax((1, 2), keepdim=True)
    predicted, looked = flat(maps).tolist(), flat(s.density).tolist()
    top, peak = max(1.0, *predicted), max(looked)
    errors = [(max(p, 0.0) / top - d / peak) ** 2 for p, d in zip(predicted, looked, strict=True)]
    assert mse(maps, s.density)[0].item() == pytest.approx(sum(errors) / len(errors), abs=1e-12)


def test_mse_takes_a_map_within_0_and_1_as_it_is_and_any_other_over_its_maximum() -> None:
    density = torch.tensor([[[0.0, 2.0, 4.0]]])
    goal = torch.tensor([[[0.0, 0.5, 1.0]]])
    for prediction in (goal, 8 * goal, 8 * goal - torch.tensor([[[3.0, 0.0, 0.0]]])):
        assert mse(prediction, density).item() == 0
    assert mse(0.5 * goal, density).item() == pytest.approx((0.25**2 + 0.5**2) / 3)
