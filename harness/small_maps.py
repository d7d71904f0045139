"""Every prediction of a cell, small: what pictures are drawn from after a run, nothing that is scored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness._array_files import open_archive, read_member, read_npy
from harness.errors import DataError, ResultsError
from harness.files import replacing
from harness.grid import resize

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from numpy import ndarray

LONGEST = 64
"""Cells on a map's longer side at most: a linear readout on the usual fitting grid stays as it is."""
MOST = 2**30
"""Bytes of all maps of one size that are read: a quarter of a million maps of 64x64."""
UNKNOWN, LEVELS = 0, 254
"""The level of a cell that is not finite; the others run from 1 (the map's minimum) to 1 + LEVELS (its maximum)."""


class SmallMaps:
    """Maps by image id, 8 bits a cell, each on its own scale from its minimum to its maximum."""

    def __init__(self) -> None:
        self._parts: list[tuple[tuple[int, ...], UInt8[ndarray, "b h w"]]] = []

    def __len__(self) -> int:
        return sum(len(ids) for ids, _ in self._parts)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._places

    def __getitem__(self, image_id: int) -> Float[ndarray, "h w"]:
        """The map from 0 to 1, nan where it was not finite; KeyError for an image that was not predicted."""
        part, row = self._places[image_id]
        levels = self._parts[part][1][row]
        return np.where(levels == UNKNOWN, np.nan, (levels - 1.0) / LEVELS)

    def add(self, ids: Sequence[int], maps: Float[Tensor, "b h w"]) -> None:
        """A batch of predictions on any grid; finer ones are area-averaged."""
        self._parts.append((tuple(ids), levels(small(maps)).cpu().numpy()))
        self.__dict__.pop("_places", None)

    def merged(self, others: Iterable[SmallMaps]) -> SmallMaps:
        """Joined with what other processes predicted."""
        joined = SmallMaps()
        joined._parts = [part for maps in (self, *others) for part in maps._parts]
        return joined

    def arrays(self) -> dict[str, Any]:
        """As arrays, those of one size together: `ids_15x20` (n,) int64 and `maps_15x20` (n, 15, 20) uint8."""
        by_size = defaultdict(list)
        for ids, maps in self._parts:
            by_size["x".join(map(str, maps.shape[1:]))].append((ids, maps))
        found = {}
        for size, parts in sorted(by_size.items()):
            every = np.concatenate([np.array(ids, np.int64) for ids, _ in parts])
            order = every.argsort(kind="stable")
            found[f"ids_{size}"] = every[order]
            found[f"maps_{size}"] = np.concatenate([maps for _, maps in parts])[order]
        return found

    def save(self, path: Path) -> None:
        """Write `arrays` as a compressed .npz."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **self.arrays())

    @classmethod
    def load(cls, path: Path) -> SmallMaps:
        """Read what `save` wrote; raises ResultsError."""
        try:
            with open_archive(path) as archive:
                arrays = {name: read_npy(read_member(archive, name, MOST), MOST) for name in archive.namelist()}
            return cls.of_arrays({name.removesuffix(".npy"): array for name, array in arrays.items()})
        except (DataError, ValueError, LookupError, OverflowError) as error:
            raise ResultsError(f"no readable maps in {path}: {error}") from error

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Any]) -> SmallMaps:
        """The inverse of `arrays`; raises ValueError for what does not fit together, KeyError for what is missing."""
        made = cls()
        for name in arrays:
            if name.startswith("ids_"):
                ids, maps = arrays[name], arrays[f"maps_{name.removeprefix('ids_')}"]
                if ids.ndim != 1 or maps.ndim != 3 or len(ids) != len(maps) or maps.dtype != np.uint8:
                    raise ValueError(f"{ids.shape} ids of {maps.dtype} maps of the shape {maps.shape}")
                made._parts.append((tuple(map(int, ids)), maps))
        return made

    @cached_property
    def _places(self) -> dict[int, tuple[int, int]]:
        return {id_: (part, row) for part, (ids, _) in enumerate(self._parts) for row, id_ in enumerate(ids)}


def small(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b sh sw"]:
    """Maps of at most LONGEST cells on the longer side, float32, their shape kept as far as whole cells allow."""
    height, width = maps.shape[-2:]
    shrink = min(1.0, LONGEST / max(height, width))
    return resize(maps.float(), (max(1, round(height * shrink)), max(1, round(width * shrink))))


def levels(maps: Float[Tensor, "b h w"]) -> UInt8[Tensor, "b h w"]:
    """Each map from its smallest to its largest finite value in 8 bits, UNKNOWN where it is not finite."""
    finite = torch.isfinite(maps)
    low = torch.where(finite, maps, torch.inf).amin(dim=(1, 2), keepdim=True)
    high = torch.where(finite, maps, -torch.inf).amax(dim=(1, 2), keepdim=True)
    span = torch.where(high > low, high - low, 1)
    scaled = 1 + torch.where(finite, (maps - low) / span, 0) * LEVELS
    return torch.where(finite, scaled.round(), UNKNOWN).to(torch.uint8)
