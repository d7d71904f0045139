"""The feature cache: placement within budget and room, replay from every tier."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RecipeError
from harness.feature_cache import (
    TIERS,
    FeatureCache,
    Placement,
    Precision,
    Tier,
    feature_bytes,
    itemsize,
    plan_tiers,
)
from harness.feature_cache._free import free_bytes, host_free
from harness.feature_cache._placement import DISK_RESERVE
from tests.harness.cached_features import (
    AMPLE,
    CPU,
    GPU,
    IMAGE,
    LAYERS,
    SIZES,
    check,
    features,
    fill,
    sizes_of,
)

room = st.integers(0, 2 * DISK_RESERVE)


@given(
    wanted=st.integers(0, 3 * DISK_RESERVE),
    budget=st.integers(0, 3 * DISK_RESERVE),
    tiers=st.sets(st.sampled_from(TIERS)),
    free=st.fixed_dictionaries({"device": room, "host": room, "disk": room}),
    processes=st.integers(1, 4),
    device=st.sampled_from([CPU, GPU]),
)
def test_a_placement_stays_within_budget_and_room_and_fills_tiers_in_order(
    wanted: int, budget: int, tiers: set[Tier], free: dict[str, int], processes: int, device: torch.device
) -> None:
    most = {
        "device": free["device"] // 2 if device.type == "cuda" else 0,
        "host": free["host"] // 2 // processes,
        "disk": max(0, free["disk"] - DISK_RESERVE) // processes,
    }
    most = {tier: n if tier in tiers else 0 for tier, n in most.items()}
    plan = plan_tiers(wanted, budget, device, tiers, processes=processes, free=free)
    if plan is None:
        assert wanted == 0 or wanted > budget or wanted > sum(most.values())
        return
    assert plan.total == wanted <= budget
    assert sum(plan.limits.values()) <= budget
    shares = {tier: getattr(plan, tier) for tier in TIERS}
    assert all(shares[tier] <= plan.limits[tier] <= most[tier] for tier in TIERS)
    used = [tier for tier in TIERS if shares[tier]]
    for tier in TIERS[: TIERS.index(used[-1])]:  # a later tier is used only if the earlier ones are full
        assert shares[tier] == most[tier]


def test_a_placement_is_a_sentence() -> None:
    free = {"device": 0, "host": 2 * 1288490189, "disk": AMPLE}
    plan = plan_tiers(2**31, 2**31, CPU, TIERS, free=free)
    assert str(plan) == "1.20 GiB on the host, 0.80 GiB on disk"
    assert str(Placement(device=2**20)) == "1 MiB on the device"


def test_free_memory_is_measured_and_a_cgroup_counts(tmp_path: Path) -> None:
    real = free_bytes(CPU, tmp_path / "not" / "yet")
    assert real["device"] == 0
    assert real["host"] > 0
    assert real["disk"] > 0
    group = tmp_path / "sys/fs/cgroup/a/b"
    (tmp_path / "proc/self").mkdir(parents=True)
    group.mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert host_free(tmp_path) == 8000 * 1024
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("3000\n")
    (group / "memory.stat").write_text("anon 2500\ninactive_file 500\n")
    assert host_free(tmp_path) == 8000 * 1024  # no limit in the group itself
    for name, text in (("memory.max", "10000"), ("memory.current", "4000"), ("memory.stat", "inactive_file 1000")):
        (group.parent / name).write_text(text)
    assert host_free(tmp_path) == 7000  # its parent's limit, less what is used and cannot be reclaimed


@settings(max_examples=60)
@given(
    n=st.integers(1, 20),
    shares=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    precision=st.sampled_from(get_args(Precision)),
    batches=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)),
)
def test_every_mix_of_tiers_and_precisions_replays_what_was_put(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    shares: tuple[int, int],
    precision: Precision,
    batches: tuple[int, int],
    seeds: tuple[int, int],
) -> None:
    folder, sizes = tmp_path_factory.mktemp("cache"), sizes_of(n)
    largest = max(IMAGE.values()) * itemsize(precision) // 4
    placement = Placement(device=shares[0] * largest, host=shares[1] * largest, disk=n * largest)
    cache = fill(FeatureCache(sizes, placement, precision, CPU, folder), sizes, batches[0], seeds[0])
    assert cache.complete
    check(cache, sizes, batches[1], seeds[1])
    held, wanted = cache.held(), sum(IMAGE[size] for size in sizes.values()) * itemsize(precision) // 4
    assert sum(held.values()) == wanted  # memory is what the plan says, not a byte more
    assert all(held[tier] <= placement.limits[tier] for tier in TIERS)
    cache.discard()
    assert not list(folder.iterdir())


def test_a_batch_may_lie_on_three_tiers_in_any_order(tmp_path: Path) -> None:
    sizes = dict.fromkeys(range(9), SIZES[0])
    placement = Placement(device=2 * IMAGE[SIZES[0]], host=3 * IMAGE[SIZES[0]], disk=4 * IMAGE[SIZES[0]])
    cache = fill(FeatureCache(sizes, placement, folder=tmp_path), sizes)
    assert cache.held() == {"device": placement.device, "host": placement.host, "disk": placement.disk}
    check(cache, sizes, batch=9)


def test_skipped_images_and_rows_of_other_processes_are_fine_until_asked_for() -> None:
    sizes = sizes_of(6)
    cache = FeatureCache(sizes, Placement(host=AMPLE))
    cache.put([100, 106], features(SIZES[0], [100, 106]))
    cache.put([106], features(SIZES[0], [106], seed=5))  # there already: stays as it is
    cache.close()
    cache.put([102], features(SIZES[1], [102]))  # the first pass is over
    assert 100 in cache
    assert 102 not in cache
    check(cache, {100: SIZES[0], 106: SIZES[0]})
    with pytest.raises(KeyError, match="row 102"):
        cache.get([100, 102], CPU)


def test_features_larger_than_foreseen_end_the_cache_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = sizes_of(6)
    cache = FeatureCache(sizes, Placement(host=sum(IMAGE[s] for s in sizes.values()) // 2), folder=tmp_path)
    fill(cache, sizes)
    assert cache.given_up
    assert not cache.complete
    assert sum(cache.held().values()) == 0
    assert "the backbone runs in every pass" in caplog.text


def test_a_full_disk_ends_the_cache_not_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    sizes = sizes_of(6)
    cache = FeatureCache(sizes, Placement(disk=AMPLE), folder=tmp_path)
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))  # what a write past the end of a disk looks like
    try:
        fill(cache, sizes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert cache.given_up
    assert "the backbone runs in every pass" in caplog.text
    assert not list(tmp_path.iterdir())


def test_fp16_refuses_what_would_become_infinite_and_names_the_layer() -> None:
    x = features(SIZES[0], [100])
    x["layer2.1"][0, 0, 0, 0] = -7e4
    with pytest.raises(RecipeError, match=r"cache\.precision.*layer2\.1.*7e\+04.*bf16"):
        FeatureCache(sizes_of(1), Placement(host=AMPLE), "fp16").put([100], x)
    cache = FeatureCache(sizes_of(1), Placement(host=AMPLE), "bf16")
    cache.put([100], x)
    assert cache.get([100], CPU)["layer2.1"].isfinite().all()
    for value in (torch.inf, torch.nan):  # not the cache's doing
        x["layer2.1"][0, 0, 0, 0] = value
        FeatureCache(sizes_of(1), Placement(host=AMPLE), "fp16").put([100], x)
    x["layer2.1"][0, 1, 0, 0] = 7e4  # hidden behind a NaN
    with pytest.raises(RecipeError, match="bf16"):
        FeatureCache(sizes_of(1), Placement(host=AMPLE), "fp16").put([100], x)


@pytest.mark.parametrize("precision", get_args(Precision))
def test_feature_bytes_are_those_of_the_tensors(precision: Precision) -> None:
    x = features((16, 24), [0])
    expected = sum(t.numel() for t in x.values()) * itemsize(precision)
    assert feature_bytes(LAYERS, (16, 24), (16, 24), itemsize(precision)) == expected
    assert feature_bytes(LAYERS, (16, 24), (2, 3), 2) == 2 * 2 * 3 * (3 + 5)  # no finer than the fitting grid
