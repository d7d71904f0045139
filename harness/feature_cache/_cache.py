"""The cache itself: which image lies where."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from harness.feature_cache._disk import DiskBlock, LayerFile
from harness.feature_cache._kept import Keep, cache_key, make_room, read_kept, remove_unused, take, write_manifest
from harness.feature_cache._memory import MemoryBlock
from harness.feature_cache._placement import TIERS, Placement, Tier
from harness.feature_cache._precision import Precision, rounded
from harness.feature_cache._scratch import Scratch
from harness.types import Size
from harness.units import gib

log = logging.getLogger("salprobe")

CPU = torch.device("cpu")


class NoRoomError(Exception):
    """The features are larger than the placement foresaw."""


class FeatureCache:
    """Features of a split, image by image. Filled by the first pass, read by every later one.

    `sizes` has the stimulus size of each row that this process may put: images of one size have features of one shape.
    If the features turn out not to fit after all, the cache says so once, lets go of everything and stays incomplete.
    """

    def __init__(
        self,
        sizes: Mapping[int, Size],
        placement: Placement,
        precision: Precision = "fp32",
        device: torch.device = CPU,
        folder: Path | None = None,
        keep: Keep | None = None,
    ) -> None:
        if (placement.disk or keep) and folder is None:
            raise ValueError("a cache on disk needs a folder")
        if keep and (placement.device or placement.host):
            raise ValueError("a kept cache lives on disk only; plan it with tiers=('disk',)")
        self.complete, self.given_up = False, False
        self.precision = precision
        self._sizes, self._device, self._folder = dict(sizes), device, folder
        self._images = Counter(self._sizes.values())
        self._room = placement.limits
        self._blocks: list[MemoryBlock | DiskBlock] = []
        self._of_size: dict[Size, list[int]] = {}
        self._places: dict[int, tuple[int, int]] = {}
        self._scratch: Scratch | None = None
        self._lock: BinaryIO | None = None
        self._keep = keep if keep and folder and _may_keep(folder, placement, keep) else None

    @classmethod
    def reopen(cls, folder: Path, facts: Mapping[str, object]) -> FeatureCache | None:
        """A kept cache of these facts, complete at once; None if there is none or its files are not what they were."""
        kept = folder / cache_key(**facts)
        if not kept.exists():
            return None
        lock: BinaryIO | None = None
        try:
            lock = take(kept)
            precision, found = read_kept(kept, facts)
        except (OSError, ValueError) as error:
            if lock is not None:
                lock.close()
            log.warning("feature cache: kept cache %s is not used: %s; it is built again", kept, error)
            remove_unused(kept)
            return None
        cache = cls({}, Placement(), precision)
        cache._lock, cache.complete = lock, True
        for number, (rows, block) in enumerate(found):
            cache._blocks.append(block)
            cache._places |= {row: (number, slot) for slot, row in enumerate(rows)}
        return cache

    def __contains__(self, row: int) -> bool:
        return row in self._places

    def takes(self, row: int) -> bool:
        """Whether that image is among those it was made for."""
        return row in self._sizes

    def held(self) -> dict[Tier, int]:
        """Bytes by tier: allocated in memory, written on disk."""
        return {tier: sum(block.nbytes for block in self._blocks if block.tier == tier) for tier in TIERS}

    def put(self, rows: Sequence[int], features: Mapping[str, Tensor]) -> None:
        """Keep a batch of images of one size, (b, c, h, w) a layer, as copies in the cache's precision.

        Rows that are there already stay as they are; nothing is taken once complete or given up. RecipeError where
        fp16 is too small for the features.
        """
        new = [index for index, row in enumerate(rows) if row not in self._places]
        if self.complete or self.given_up or not new:
            return
        if len(new) < len(rows):
            features = {name: x[new] for name, x in features.items()}
        kept = {name: x.movedim(1, -1).contiguous() for name, x in rounded(features, self.precision).items()}
        try:
            self._store([rows[index] for index in new], kept)
        except (OSError, NoRoomError) as error:
            self._give_up(error)

    def get(self, rows: Sequence[int], device: torch.device) -> dict[str, Tensor]:
        """These images (of one shape) as one batch in the cache's precision, channels last in memory.

        KeyError for a row never put.
        """
        parts: dict[int, tuple[list[int], list[int]]] = {}
        for place, row in enumerate(rows):
            if row not in self._places:
                raise KeyError(f"row {row} was never put into this feature cache")
            number, slot = self._places[row]
            places, slots = parts.setdefault(number, ([], []))
            places.append(place)
            slots.append(slot)
        batch = self._blocks[self._places[rows[0]][0]].batch(len(rows), device)
        for number, (places, slots) in parts.items():
            self._blocks[number].read(slots, batch, places)
        return {name: x.movedim(-1, 1) for name, x in batch.items()}

    def close(self) -> None:
        """The first pass is over: what was put is complete, unless given up; a kept cache moves to its place."""
        if self.complete or self.given_up:
            return
        try:
            if self._keep is not None:
                self._move_to_stay(self._keep)
        except OSError as error:
            self._give_up(error)
        else:
            self.complete = True

    def discard(self) -> None:
        """Let go of memory and files, but for a kept cache's; nothing can be read any more."""
        self._blocks, self._places, self._of_size = [], {}, {}
        self.complete = False
        if self._scratch is not None:
            self._scratch.remove()
        if self._lock is not None:
            self._lock.close()
        self._scratch = self._lock = None

    def _store(self, rows: Sequence[int], features: Mapping[str, Tensor]) -> None:
        size = self._sizes[rows[0]]
        if size not in self._of_size:
            self._of_size[size] = self._reserve(size, features)
        start = 0
        for number in self._of_size[size]:
            block = self._blocks[number]
            n = min(len(rows) - start, block.capacity - block.used)
            if n:
                first = block.used
                block.append({name: x[start : start + n] for name, x in features.items()})
                self._places |= {row: (number, first + i) for i, row in enumerate(rows[start : start + n])}
                start += n
        if start < len(rows):
            raise NoRoomError(f"no room for more images of {size[0]} x {size[1]}")

    def _reserve(self, size: Size, features: Mapping[str, Tensor]) -> list[int]:
        """Blocks for all images of one size, on the first tiers with room for some of them."""
        image_bytes = sum(x[0].nbytes for x in features.values())
        left = self._images[size]
        numbers = []
        for tier in TIERS:
            n = min(left, self._room[tier] // image_bytes)
            if n and (block := self._block(tier, features, n)):
                self._blocks.append(block)
                self._room[tier] -= n * image_bytes
                numbers.append(len(self._blocks) - 1)
                left -= n
        if left:
            raise NoRoomError(f"images of {size[0]} x {size[1]} take {gib(image_bytes)} each, {left} do not fit")
        return numbers

    def _block(self, tier: Tier, features: Mapping[str, Tensor], capacity: int) -> MemoryBlock | DiskBlock | None:
        if tier == "device":
            try:
                return MemoryBlock(tier, features, capacity, self._device, page_lock=False)
            except torch.cuda.OutOfMemoryError:  # others have grown since the plan: the next tier may have room
                return None
        if tier == "host":
            return MemoryBlock(tier, features, capacity, CPU, page_lock=self._device.type == "cuda")
        path, number = self._scratch_folder(), len(self._blocks)
        files = {
            name: LayerFile(path / f"{number}-{i}.bin", x.shape[1:], x.dtype)
            for i, (name, x) in enumerate(features.items())
        }
        return DiskBlock(files, capacity)

    def _scratch_folder(self) -> Path:
        assert self._folder is not None
        if self._scratch is None:
            self._scratch = Scratch(self._folder)
        return self._scratch.path

    def _move_to_stay(self, keep: Keep) -> None:
        assert self._folder is not None
        path = self._scratch_folder()
        rows: list[list[int]] = [[] for _ in self._blocks]
        for row, (number, _) in self._places.items():  # in the order of their slots
            rows[number].append(row)
        write_manifest(path, keep.facts, self.precision, list(zip(rows, self._disk_blocks(), strict=True)))
        lock, target = take(path), self._folder / cache_key(**keep.facts)
        assert self._scratch is not None
        if not self._scratch.become(target):
            lock.close()
            log.info("feature cache: another process kept %s first; this one's copy goes with it", target.name[:12])
            return
        self._lock, self._scratch = lock, None
        for block in self._disk_blocks():
            for file in block.files.values():
                file.path = target / file.path.name

    def _disk_blocks(self) -> list[DiskBlock]:
        return [block for block in self._blocks if isinstance(block, DiskBlock)]

    def _give_up(self, error: Exception) -> None:
        log.warning("feature cache: given up, the backbone runs in every pass: %s", error)
        self.discard()
        self.given_up = True


def _may_keep(folder: Path, placement: Placement, keep: Keep) -> bool:
    cache_key(**keep.facts)  # facts that cannot be written are an error now, not after the first pass
    folder.mkdir(parents=True, exist_ok=True)
    if make_room(folder, placement.total, keep.budget):
        return True
    log.warning(
        "feature cache: not kept: %s more would exceed the %s for kept caches in %s, others are in use",
        gib(placement.total),
        gib(keep.budget),
        folder,
    )
    return False
