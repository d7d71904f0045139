"""Every map read once before any is scored: what cannot be used is told at the start, all of it at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.data.dataset import Dataset
from harness.errors import DataError
from harness.predictions.stored import StoredMap
from harness.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.progress import Progress


@dataclass(frozen=True)
class Checked:
    """What reading all maps once has shown."""

    digest: str
    """sha256 over ids, sizes and values: the same maps in another format are the same maps."""
    resized: list[str]
    """Every map that is not of its image's size, in words."""


def check_maps(maps: Mapping[int, StoredMap], dataset: Dataset, progress: Progress, *, density: bool) -> Checked:
    """Read the map of every image that has one; raises DataError naming the first that cannot be used."""
    total, resized = hashlib.sha256(), []
    with progress.phase("reading maps", len(maps)) as bar:
        for row, id_ in enumerate(map(int, dataset.ids)):
            if id_ not in maps:
                continue
            where, plane, size = maps[id_].where, maps[id_].read(), dataset.size(row)
            _refuse(where, plane, size, density)
            if plane.shape != size:
                resized.append(f"{where} is {_by(plane.shape)}, its image {_by(size)}")
            total.update(f"{id_} {_by(plane.shape)}\n".encode() + plane.tobytes())
            bar.advance(1)
    return Checked(total.hexdigest(), resized)


def _refuse(where: str, plane: NDArray[np.float64], size: Size, density: bool) -> None:
    if plane.shape != size and plane.shape[::-1] == size:
        raise DataError(f"{where} is {_by(plane.shape)}, its image {_by(size)} (height x width): transpose the map")
    if density and ((plane < 0).any() or not plane.any()):
        raise DataError(f"{where}: a density is nowhere negative and not 0 everywhere; leave out --density")


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
