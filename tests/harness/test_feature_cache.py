"""The feature cache: placement within budget and room, replay from every tier, kept files, nothing left behind."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import RecipeError
from harness.feature_cache import (
    TIERS,
    FeatureCache,
    Keep,
    Placement,
    Precision,
    Tier,
    cache_key,
    feature_bytes,
    itemsize,
    plan_tiers,
)
from harness.feature_cache._free import free_bytes, host_free
from harness.feature_cache._placement import DISK_RESERVE
from harness.types import LayerSpec, Size

CPU = torch.device("cpu")
GPU = torch.device("cuda")
AMPLE = 2**40
LAYERS = (LayerSpec("layer1", 3, 4), LayerSpec("layer2.1", 5, 8))
SIZES: list[Size] = [(16, 24), (24, 16), (16, 16)]
IMAGE = {size: feature_bytes(LAYERS, size, size) for size in SIZES}
RELATIVE = {"fp32": 0.0, "fp16": 2.0**-11, "bf16": 2.0**-8}
FACTS = {"weights": "ab12", "layers": ["layer1", "layer2.1"], "shard": [0, 1]}


def features(size: Size, rows: list[int], seed: int = 0) -> dict[str, Tensor]:
    """Seeded features of some images of one size."""
    maps: dict[str, list[Tensor]] = {layer.name: [] for layer in LAYERS}
    for row in rows:
        generator = torch.Generator().manual_seed(1000 * seed + row)
        for layer in LAYERS:
            shape = (layer.channels, size[0] // layer.stride, size[1] // layer.stride)
            maps[layer.name].append(torch.randn(shape, generator=generator))
    return {name: torch.stack(x) for name, x in maps.items()}


def batches(sizes: dict[int, Size], batch: int, seed: int) -> Iterator[tuple[Size, list[int]]]:
    """All images, in batches of one size, in a seeded order."""
    order = list(sizes)
    random.Random(seed).shuffle(order)
    for size in SIZES:
        same = [row for row in order if sizes[row] == size]
        yield from ((size, same[start : start + batch]) for start in range(0, len(same), batch))


def fill(cache: FeatureCache, sizes: dict[int, Size], batch: int = 3, seed: int = 0) -> FeatureCache:
    """Put all images, in batches of one size, in a seeded order."""
    for size, rows in batches(sizes, batch, seed):
        cache.put(rows, features(size, rows))
    cache.close()
    return cache


def check(cache: FeatureCache, sizes: dict[int, Size], batch: int = 4, seed: int = 1) -> None:
    """Everything comes back as it was put, in any order, in the cache's precision."""
    for size, rows in batches(sizes, batch, seed):
        got, put = cache.get(rows, CPU), features(size, rows)
        assert list(got) == list(put)
        for name, x in got.items():
            assert x.element_size() == itemsize(cache.precision)
            assert x.shape == put[name].shape
            # half floats lose relative precision near zero: 2^-25 is half of fp16's smallest step
            torch.testing.assert_close(x.float(), put[name], rtol=RELATIVE[cache.precision], atol=2.0**-25)


def sizes_of(n: int) -> dict[int, Size]:
    """Mixed sizes; rows start at 100 and have gaps, as the rows of one of several processes."""
    return {100 + 2 * i: SIZES[i % 3] for i in range(n)}


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


@settings(max_examples=60, deadline=None)
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


# --- files ----------------------------------------------------------------------------------------------------------


def kept(folder: Path, sizes: dict[int, Size], facts: dict[str, object] = FACTS, budget: int = AMPLE) -> FeatureCache:
    """A kept cache with all images."""
    wanted = sum(IMAGE[size] for size in sizes.values())
    return fill(FeatureCache(sizes, Placement(disk=wanted), folder=folder, keep=Keep(facts, budget)), sizes)


def folders(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_kept_cache_is_reopened_complete(tmp_path: Path) -> None:
    sizes = sizes_of(7)
    assert FeatureCache.reopen(tmp_path, FACTS) is None
    kept(tmp_path, sizes).discard()
    assert folders(tmp_path) == {cache_key(**FACTS)}
    again = FeatureCache.reopen(tmp_path, FACTS)
    assert again is not None
    assert again.complete
    check(again, sizes)
    assert 101 not in again
    assert FeatureCache.reopen(tmp_path, {**FACTS, "weights": "cd34"}) is None


@pytest.mark.parametrize("precision", get_args(Precision))
def test_a_kept_cache_keeps_its_precision_and_is_readable_by_its_maker(tmp_path: Path, precision: Precision) -> None:
    sizes = sizes_of(4)
    placement = Placement(disk=sum(IMAGE[size] for size in sizes.values()))
    cache = fill(FeatureCache(sizes, placement, precision, folder=tmp_path, keep=Keep(FACTS, AMPLE)), sizes)
    check(cache, sizes)
    again = FeatureCache.reopen(tmp_path, FACTS)
    assert again is not None
    assert again.precision == precision
    check(again, sizes)


def truncate(kept: Path) -> None:
    file = sorted(kept.glob("*.bin"))[1]
    file.write_bytes(file.read_bytes()[:-4])


def flip(kept: Path) -> None:
    file = sorted(kept.glob("*.bin"))[-1]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def lose(kept: Path) -> None:
    sorted(kept.glob("*.bin"))[0].unlink()


def garble(kept: Path) -> None:
    (kept / "manifest.json").write_text('{"version": 1}')


def cut_manifest(kept: Path) -> None:
    (kept / "manifest.json").write_text((kept / "manifest.json").read_text()[:50])


def other_version(kept: Path) -> None:
    manifest = json.loads((kept / "manifest.json").read_text())
    (kept / "manifest.json").write_text(json.dumps({**manifest, "version": 0}))


@pytest.mark.parametrize("damage", [truncate, flip, lose, garble, cut_manifest, other_version])
def test_a_damaged_kept_cache_is_discarded_and_built_again(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    sizes = sizes_of(5)
    kept(tmp_path, sizes).discard()
    damage(tmp_path / cache_key(**FACTS))
    assert FeatureCache.reopen(tmp_path, FACTS) is None
    assert "built again" in caplog.text
    assert not folders(tmp_path)
    kept(tmp_path, sizes).discard()
    again = FeatureCache.reopen(tmp_path, FACTS)
    assert again is not None
    check(again, sizes)


json_able = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3), max_leaves=4
)


@given(st.dictionaries(st.text(min_size=1, max_size=5), json_able, min_size=1, max_size=5), st.data())
def test_every_fact_counts_in_the_key_and_their_order_does_not(facts: dict[str, object], data: st.DataObject) -> None:
    key = cache_key(**facts)
    assert cache_key(**dict(reversed(facts.items()))) == key
    name = data.draw(st.sampled_from(sorted(facts)))
    other = data.draw(json_able.filter(lambda value: json.dumps(value) != json.dumps(facts[name])))
    assert cache_key(**{**facts, name: other}) != key


def test_facts_must_be_json_able(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        FeatureCache({}, Placement(), folder=tmp_path, keep=Keep({"device": CPU}, AMPLE))


def test_of_two_builders_the_first_keeps_and_both_can_read(tmp_path: Path) -> None:
    sizes = sizes_of(4)
    placement = Placement(disk=AMPLE)
    first, second = (FeatureCache(sizes, placement, folder=tmp_path, keep=Keep(FACTS, 2 * AMPLE)) for _ in range(2))
    for cache in (first, second):
        fill(cache, sizes)
        assert cache.complete
    check(first, sizes)
    check(second, sizes)
    second.discard()
    assert folders(tmp_path) == {cache_key(**FACTS)}


def test_the_least_recently_used_kept_caches_go_first_and_those_in_use_stay(tmp_path: Path) -> None:
    sizes = sizes_of(3)
    facts: list[dict[str, object]] = [{"weights": i} for i in range(5)]
    keys = [cache_key(**f) for f in facts]
    for i in range(3):
        kept(tmp_path, sizes, facts[i]).discard()
        os.utime(tmp_path / keys[i] / "lock", (i + 1, i + 1))
    one = sum(file.stat().st_size for file in (tmp_path / keys[0]).iterdir())
    reopened = FeatureCache.reopen(tmp_path, facts[0])  # now the most recently used
    assert reopened is not None
    reopened.discard()
    held = kept(tmp_path, sizes, facts[3], budget=3 * one + 10)
    assert folders(tmp_path) == {keys[0], keys[2], keys[3]}
    os.utime(tmp_path / keys[3] / "lock", (1, 1))  # the oldest, but in use
    kept(tmp_path, sizes, facts[4], budget=2 * one + 10).discard()
    assert folders(tmp_path) == {keys[3], keys[4]}
    check(held, sizes)


def test_what_cannot_be_kept_within_the_budget_is_used_and_thrown_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = sizes_of(3)
    one = sum(IMAGE[size] for size in sizes.values())
    held = kept(tmp_path, sizes)
    second = kept(tmp_path, sizes, {"weights": 2}, budget=one + 100)
    assert "not kept" in caplog.text
    check(second, sizes)
    second.discard()
    assert folders(tmp_path) == {cache_key(**FACTS)}
    held.discard()


def test_nothing_is_left_of_a_cache_that_is_not_kept(tmp_path: Path) -> None:
    sizes = sizes_of(5)
    cache = fill(FeatureCache(sizes, Placement(disk=AMPLE), folder=tmp_path), sizes)
    assert len(folders(tmp_path)) == 1
    del cache
    gc.collect()
    assert not folders(tmp_path)
    unfinished = FeatureCache(sizes, Placement(disk=AMPLE), folder=tmp_path, keep=Keep(FACTS, AMPLE))
    unfinished.put([100], features(SIZES[0], [100]))
    unfinished.discard()
    assert not folders(tmp_path)


PROCESS = """
import os, signal, sys
from pathlib import Path
from tests.harness.test_feature_cache import AMPLE, SIZES, FeatureCache, Placement, check, features, folders, sizes_of

folder = Path(sys.argv[1])

def make():
    cache = FeatureCache(sizes_of(3), Placement(disk=AMPLE), folder=folder)
    cache.put([100], features(SIZES[0], [100]))
    return cache

if os.fork() == 0:
    cache = make()
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
killed = folders(folder)
assert len(killed) == 1
cache = make()
assert len(folders(folder)) == 1 and folders(folder) != killed
if os.fork() == 0:  # a worker of a data loader, with a copy of everything, ends as it likes
    sys.exit()
os.wait()
check(cache, {100: SIZES[0]})
"""


def test_a_process_takes_its_files_with_it_and_a_killed_ones_go_at_the_next_start(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROCESS, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not folders(tmp_path)
