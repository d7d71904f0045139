from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.metrics import auc, auc_borji, auc_judd, auc_map, cc, ig, kld, mse, nss, rank, sauc, sim
from tests.harness.metrics.scenes import Scene, scene, scenes

METRICS = {
    "cc": lambda s: cc(s.maps, s.density),
    "sim": lambda s: sim(s.maps, s.density),
    "kld": lambda s: kld(s.maps, s.density),
    "nss": lambda s: nss(s.maps, s.fixations),
    "auc": lambda s: auc(s.maps, s.fixations),
    "auc_judd": lambda s: auc_judd(s.maps, s.fixations),
    "sauc": lambda s: sauc(s.maps, s.fixations, s.others),
    "auc_map": lambda s: auc_map(s.maps, s.density),
    "mse": lambda s: mse(s.maps, s.density),
    "ig": lambda s: ig(s.maps, s.fixations, s.density.log()),
}
RANKS = ("auc", "auc_judd", "sauc", "auc_map")
WITHOUT_FIXATIONS = ("cc", "sim", "kld", "auc_map", "mse")
GAZE = ("nss", "auc", "sauc", "ig")
MONOTONE = [torch.exp, torch.atan, lambda x: x**3, lambda x: 1e-30 * x, lambda x: 1e6 + 1e3 * x]


def with_maps(s: Scene, maps: Tensor) -> Scene:
    return Scene(maps, s.density, s.fixations, s.others)


def pick(s: Scene, rows: list[int]) -> Scene:
    return Scene(s.maps[rows], s.density[rows], s.fixations[rows], s.others[rows])


@settings(max_examples=25)
@given(scenes, st.sampled_from(MONOTONE), st.sampled_from(RANKS))
def test_rank_metrics_do_not_change_at_all_under_strictly_monotone_maps(s: Scene, f, name: str) -> None:
    assert torch.equal(METRICS[name](s), METRICS[name](with_maps(s, f(s.maps))))


@settings(max_examples=25)
@given(scenes, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_cc_nss_and_sim_do_not_change_under_affine_maps(s: Scene, scale: float, offset: float) -> None:
    moved = with_maps(s, scale * s.maps + offset)
    for name in ("cc", "nss", "sim"):
        torch.testing.assert_close(METRICS[name](moved), METRICS[name](s), rtol=1e-8, atol=1e-8)


@settings(max_examples=25)
@given(scenes)
def test_a_map_and_its_negative_share_one_auc_between_them(s: Scene) -> None:
    for name in ("auc", "sauc", "auc_map"):
        both = METRICS[name](s) + METRICS[name](with_maps(s, -s.maps))
        torch.testing.assert_close(both, torch.ones_like(both), rtol=1e-15, atol=0)


@settings(max_examples=25)
@given(scenes, st.integers(2, 5))
def test_counting_every_fixation_several_times_changes_nothing(s: Scene, times: int) -> None:
    again = Scene(s.maps, s.density, times * s.fixations, times * s.others)
    for name in GAZE:
        torch.testing.assert_close(METRICS[name](again), METRICS[name](s), rtol=1e-14, atol=1e-14)
    assert torch.equal(auc_judd(s.maps, times * s.fixations), auc_judd(s.maps, s.fixations))


def test_a_duplicate_weighs_as_much_as_another_fixation() -> None:
    s = scene(1, batch=1)
    pixel = int(s.fixations.flatten().nonzero()[0, 0])
    more = s.fixations.clone()
    more.view(-1)[pixel] += 10
    n = s.fixations.sum()
    alone = torch.zeros_like(more)
    alone.view(-1)[pixel] = 10
    for metric in (nss, auc):
        expected = (metric(s.maps, s.fixations) * n + metric(s.maps, alone) * 10) / (n + 10)
        torch.testing.assert_close(metric(s.maps, more), expected, rtol=1e-12, atol=0)


@settings(max_examples=10)
@given(scenes, st.permutations([0, 1, 2]), st.sampled_from(sorted(METRICS)))
def test_a_batch_is_its_maps_one_by_one_in_any_order(s: Scene, order: list[int], name: str) -> None:
    together = METRICS[name](s)
    assert torch.equal(METRICS[name](pick(s, order)), together[order])
    assert torch.equal(torch.cat([METRICS[name](pick(s, [i])) for i in range(3)]), together)


@settings(max_examples=25)
@given(scenes)
def test_every_value_is_in_its_bounds(s: Scene) -> None:
    for name in ("sim", "mse", *RANKS):
        assert ((METRICS[name](s) >= 0) & (METRICS[name](s) <= 1)).all(), name
    assert (cc(s.maps, s.density).abs() <= 1).all()
    torch.testing.assert_close(cc(s.density, s.density), torch.ones(3).double())
    assert (kld(s.maps, s.density) >= -1e-9).all()


def test_ranks_found_once_serve_both_metrics() -> None:
    s = scene(2)
    ranks = rank(s.maps, s.fixations)
    assert torch.equal(auc(s.maps, s.fixations, ranks=ranks), auc(s.maps, s.fixations))
    assert torch.equal(auc_judd(s.maps, s.fixations, ranks=ranks), auc_judd(s.maps, s.fixations))


@pytest.mark.parametrize("name", METRICS)
def test_images_without_a_fixation_leave_their_neighbours_alone(name: str) -> None:
    s = scene(3)
    fixations = s.fixations.clone()
    fixations[1] = 0
    value = METRICS[name](Scene(s.maps, s.density, fixations, s.others))
    assert torch.equal(value[[0, 2]], METRICS[name](s)[[0, 2]])
    assert value[1].isnan() == (name not in WITHOUT_FIXATIONS)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", METRICS)
def test_a_map_that_is_not_finite_scores_nan_and_leaves_its_neighbours_alone(name: str, bad: float) -> None:
    s = scene(4)
    maps = s.maps.clone()
    maps[1].view(-1)[int((s.fixations[1].view(-1) + s.others[1].view(-1) == 0).nonzero()[0, 0])] = bad
    value = METRICS[name](with_maps(s, maps))
    assert torch.equal(value[[0, 2]], METRICS[name](s)[[0, 2]])
    # a log density of -inf away from the fixations is a probability of 0: legitimate
    assert value[1].isnan() == (not (name == "ig" and bad == -torch.inf))


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.7, 1e-300, 1e300])
def test_constant_predictions(constant: float) -> None:
    s = scene(5)
    flat = with_maps(s, torch.full_like(s.maps, constant))
    assert torch.equal(METRICS["cc"](flat), torch.zeros(3).double())
    assert torch.equal(METRICS["nss"](flat), torch.zeros(3).double())
    for name in RANKS:
        assert torch.equal(METRICS[name](flat), torch.full((3,), 0.5).double()), name
    assert METRICS["sim"](flat).isnan().all()
    uniform = with_maps(s, torch.ones_like(s.maps))
    if constant < 1e300:  # whose sum overflows
        torch.testing.assert_close(METRICS["kld"](flat), METRICS["kld"](uniform))
    assert torch.equal(auc_borji(flat.maps, s.fixations, generator=torch.Generator()), torch.full((3,), 0.5).double())


def test_a_constant_ground_truth_cannot_be_correlated_with() -> None:
    s = scene(6)
    for truth in (torch.zeros_like(s.density), torch.full_like(s.density, 0.1)):
        assert cc(s.maps, truth).isnan().all()
        assert sim(s.maps, truth).isnan().all()
        assert auc_map(s.maps, truth).isnan().all()
        assert mse(s.maps, truth).isnan().all()
        assert cc(torch.ones_like(s.maps), truth).isnan().all()


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e150])
def test_very_small_and_very_large_maps_score_the_same(scale: float) -> None:
    s = scene(7)
    for name in ("cc", "nss", "sim", "kld"):
        torch.testing.assert_close(METRICS[name](with_maps(s, scale * s.maps)), METRICS[name](s), rtol=1e-9, atol=1e-9)


def test_a_zero_probability_at_a_fixation_costs_infinitely_many_bits() -> None:
    s = scene(8, batch=1)
    log_density = s.maps.clone()
    log_density[s.fixations > 0] = -torch.inf
    assert ig(log_density, s.fixations, s.density.log()).item() == -torch.inf


def test_borji_is_determined_by_its_seed() -> None:
    s = scene(9)

    def draw(seed: int) -> Tensor:
        return auc_borji(s.maps, s.fixations, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_float32_maps_of_full_size_keep_the_digits() -> None:
    s = scene(10, batch=1, size=(480, 640))
    single = Scene((s.maps + 10).float(), s.density.float(), s.fixations, s.others)
    double = Scene(single.maps.double(), single.density.double(), s.fixations, s.others)
    for name, metric in METRICS.items():
        torch.testing.assert_close(metric(single), metric(double), rtol=1e-5, atol=1e-5, msg=name)
        assert metric(single).dtype == torch.float64
