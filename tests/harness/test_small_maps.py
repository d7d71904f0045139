"""Maps kept small: what comes back against the map that was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ResultsError
from harness.grid import resize
from harness.small_maps import LEVELS, LONGEST, SmallMaps, small

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


@given(SIZES, st.integers(0, 5), st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=40)
def test_a_map_comes_back_from_its_minimum_to_its_maximum(
    size: tuple[int, int], seed: int, gain: float, offset: float
) -> None:
    maps = torch.randn(3, *size, generator=torch.Generator().manual_seed(seed)) * gain + offset
    kept = SmallMaps()
    kept.add((5, 1, 9), maps)
    expected = small(maps).double().numpy()
    for image_id, plain in zip((5, 1, 9), expected, strict=True):
        span = np.ptp(plain)
        scaled = (plain - plain.min()) / span if span > 0 else plain * 0
        assert kept[image_id].shape == plain.shape
        np.testing.assert_allclose(kept[image_id], scaled, atol=0.5 / LEVELS + 1e-3)


@given(SIZES)
def test_only_what_is_too_large_is_averaged(size: tuple[int, int]) -> None:
    maps = torch.arange(size[0] * size[1], dtype=torch.float32).view(1, *size)
    found = small(maps)
    if max(size) <= LONGEST:
        assert torch.equal(found, maps)
    else:
        assert max(found.shape[1:]) == LONGEST
        torch.testing.assert_close(found, resize(maps, tuple(found.shape[1:])))


def test_what_is_not_finite_stays_unknown_and_a_constant_map_is_no_error() -> None:
    kept = SmallMaps()
    kept.add((1, 2, 3), torch.tensor([[[0.0, torch.inf, 1.0]], [[2.0, 2.0, 2.0]], [[torch.nan] * 3]]))
    np.testing.assert_array_equal(kept[1], [[0, np.nan, 1]])
    np.testing.assert_array_equal(kept[2], [[0, 0, 0]])
    assert np.isnan(kept[3]).all()


def test_maps_of_several_sizes_and_processes_survive_the_file(tmp_path: Path) -> None:
    one, other = SmallMaps(), SmallMaps()
    one.add((7, 3), torch.rand(2, 4, 5))
    one.add((1,), torch.rand(1, 6, 5))
    other.add((2,), torch.rand(1, 4, 5))
    joined = one.merged([other])
    joined.save(tmp_path / "maps.npz")
    again = SmallMaps.load(tmp_path / "maps.npz")
    assert len(again) == len(joined) == 4
    for image_id in (1, 2, 3, 7):
        np.testing.assert_array_equal(again[image_id], joined[image_id])
    assert 8 not in again
    assert again.arrays()["ids_4x5"].tolist() == [2, 3, 7]


def test_a_file_with_objects_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    with pytest.raises(ResultsError, match="no readable maps"):
        SmallMaps.load(path)
    np.savez(path, ids_1x1=np.array([{}], dtype=object), maps_1x1=np.zeros((1, 1, 1)))
    with pytest.raises(ResultsError, match="no readable maps"):
        SmallMaps.load(path)
