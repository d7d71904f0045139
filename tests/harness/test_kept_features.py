"""Feature caches in files: kept ones are found, checked and thrown away by rule; nothing else is left behind."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.feature_cache import (
    FeatureCache,
    Keep,
    Placement,
    Precision,
    cache_key,
)
from harness.types import Size
from tests.harness.cached_features import (
    AMPLE,
    CPU,
    FACTS,
    IMAGE,
    SIZES,
    check,
    features,
    fill,
    sizes_of,
)


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
from tests.harness.test_kept_features import AMPLE, SIZES, FeatureCache, Placement, check, features, folders, sizes_of

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
