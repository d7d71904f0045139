"""Images -> preprocessed batches -> backbone -> Batch. The only place where a network runs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from harness.data.dataset import Dataset, Skipped
from harness.data.images import read_image, resize_image
from harness.density import sigma_for
from harness.errors import DataError
from harness.feature_cache import FeatureCache
from harness.grid import no_finer_than
from harness.timing import Stopwatch
from harness.types import Batch, LayerSpec, Size

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from harness._backbone import LoadedBackbone

BLOCK = 32
"""Images of one size and one fold that stay together when an epoch is shuffled; no batch is larger."""


@dataclass(frozen=True)
class StreamSettings:
    """How images become batches; all but `batch_size` and `workers` can change numbers."""

    scale: float = 1.0
    size: Size | None = None
    grid: int | Size = 32
    folds: int = 5
    seed: int = 0
    batch_size: int = 8
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0
    on_bad: Literal["error", "skip"] = "error"

    def grid_for(self, size: Size) -> Size:
        """The fitting grid of a stimulus of that size."""
        if not isinstance(self.grid, int):
            return self.grid
        return max(1, round(size[0] / self.grid)), max(1, round(size[1] / self.grid))

    def input_for(self, size: Size) -> Size:
        """The network input's size for a stimulus of that size, before the backbone's rounding."""
        return self.size or (max(1, round(size[0] * self.scale)), max(1, round(size[1] * self.scale)))


@dataclass
class Stream:
    """The batches of one split through one backbone; without a backbone, batches carry gaze only."""

    dataset: Dataset
    settings: StreamSettings
    device: torch.device
    backbone: LoadedBackbone | None = None
    layers: tuple[LayerSpec, ...] = ()
    cache: FeatureCache | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    skipped: dict[int, Skipped] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folds = assign_folds([int(i) for i in self.dataset.ids], self.settings.folds, self.settings.seed)
        if self.backbone is not None:
            prepare(self.backbone, self.settings.precision)

    def batches(self, epoch: int | None = None, rows: Sequence[int] | None = None) -> Iterator[Batch]:
        """One pass, over all images or over some rows. Every batch holds images of one size and one fold.

        The order is seeded by `epoch`; `epoch=None` keeps the dataset's order as far as sizes allow.
        """
        plan = self._plan(epoch, rows)
        if self.backbone is None:
            yield from (self._batch(rows, {}) for rows in plan)
        elif self.cache is not None and self.cache.complete:
            yield from self._from_cache(self.cache, plan)
        else:
            yield from self._through_backbone(plan)
            if self.cache is not None and rows is None:
                self.cache.close()

    def _from_cache(self, cache: FeatureCache, plan: list[list[int]]) -> Iterator[Batch]:
        for rows in plan:
            known = [row for row in rows if row in cache]
            if known:
                with self.watch("cache"):
                    # back to float32: readouts and strangers' probes compute in the features' own precision
                    features = {name: x.float() for name, x in cache.get(known, self.device).items()}
                yield self._batch(known, features)
            # what a kept cache lacks was a bad image when it was filled: met again, it is reported again
            lost = [row for row in rows if row not in cache and row not in self.skipped]
            if lost:
                yield from self._through_backbone([lost])

    def _through_backbone(self, plan: list[list[int]]) -> Iterator[Batch]:
        assert self.backbone is not None
        images = _Images(self.dataset, self.settings, self.backbone.preprocessing.input_size)
        loader = DataLoader(
            images,
            batch_sampler=plan,
            num_workers=self.settings.workers,
            collate_fn=_keep,
            pin_memory=False,
            prefetch_factor=2 if self.settings.workers else None,
        )
        waiting = iter(loader)
        while True:
            with self.watch("decode"):
                loaded = next(waiting, None)
            if loaded is None:
                return
            rows, pixels = self._usable(loaded)
            if rows:
                with self.watch("forward", self.device):
                    features = self._features(torch.stack(pixels), rows)
                if self.cache is not None:
                    self.cache.put(rows, features)
                yield self._batch(rows, features)

    def _usable(self, loaded: list[tuple[int, Tensor | DataError]]) -> tuple[list[int], list[Tensor]]:
        rows, pixels = [], []
        for row, image in loaded:
            if isinstance(image, Tensor):
                rows.append(row)
                pixels.append(image)
            elif self.settings.on_bad == "error":
                raise image
            else:
                id_, file = int(self.dataset.ids[row]), str(self.dataset.files[row])
                self.skipped[row] = Skipped(id_, file, str(image))
        return rows, pixels

    @torch.no_grad()
    def _features(self, pixels: UInt8[Tensor, "b 3 h w"], rows: Sequence[int]) -> dict[str, Tensor]:
        """Native features, area-averaged where they are finer than the fitting grid, float32."""
        assert self.backbone is not None
        dtype = torch.bfloat16 if self.settings.precision == "bf16" else torch.float32
        x = self.backbone.preprocessing(pixels.to(self.device, non_blocking=True), dtype)
        native = self.backbone.forward(
            x.contiguous(memory_format=torch.channels_last), [layer.name for layer in self.layers]
        )
        grid = self.settings.grid_for(self.dataset.size(rows[0]))
        return {name: no_finer_than(f.float(), grid).contiguous() for name, f in native.items()}

    def _batch(self, rows: Sequence[int], features: dict[str, Tensor]) -> Batch:
        size = self.dataset.size(rows[0])
        return Batch(
            ids=tuple(int(self.dataset.ids[row]) for row in rows),
            size=size,
            grid=self.settings.grid_for(size),
            points=tuple(self.dataset.points(row) for row in rows),
            # outside inference mode, so that heads may train on them
            features={name: f.clone() if f.is_inference() else f for name, f in features.items()},
            folds=tuple(self.folds[row] for row in rows),
            sigma=sigma_for(size[0]),
            device=self.device,
        )

    def _plan(self, epoch: int | None, rows: Sequence[int] | None) -> list[list[int]]:
        """The rows of every batch. The order of images does not depend on the batch size."""
        order = list(range(len(self.dataset)) if rows is None else rows)
        if epoch is not None:
            random.Random(f"{self.settings.seed}/{epoch}").shuffle(order)
        alike: dict[tuple[Size, int], list[int]] = {}
        for row in order:
            fold = self.folds[row] if epoch is not None else 0
            alike.setdefault((self.dataset.size(row), fold), []).append(row)
        if epoch is None:
            blocks = list(alike.values())
        else:
            blocks = [same[i : i + BLOCK] for same in alike.values() for i in range(0, len(same), BLOCK)]
            random.Random(f"{self.settings.seed}/{epoch}/blocks").shuffle(blocks)
        step = self.settings.batch_size
        return [block[i : i + step] for block in blocks for i in range(0, len(block), step)]


class _Images(TorchDataset[tuple[int, "Tensor | DataError"]]):
    """Decodes and resizes one image; an error travels back as a value, so that it names the file, not a worker."""

    def __init__(self, dataset: Dataset, settings: StreamSettings, round_to: object) -> None:
        self.dataset, self.settings, self.round_to = dataset, settings, round_to

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> tuple[int, Tensor | DataError]:
        file, id_ = self.dataset.files[row], int(self.dataset.ids[row])
        try:
            image = read_image(file, id_)
        except DataError as error:
            return row, error
        expected = self.dataset.size(row)
        if tuple(image.shape[1:]) != expected:
            return row, DataError(f"image {id_} ({file}) is {tuple(image.shape[1:])}, its annotation says {expected}")
        return row, resize_image(image, self.round_to(self.settings.input_for(expected)))  # type: ignore[operator]


def _keep(items: list[tuple[int, Tensor | DataError]]) -> list[tuple[int, Tensor | DataError]]:
    return items


def prepare(backbone: LoadedBackbone, precision: Literal["fp32", "bf16"]) -> None:
    """channels_last memory and the recipe's precision, for backbones that hold a torch module."""
    module = getattr(backbone, "module", None)
    if isinstance(module, nn.Module):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        module.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


def assign_folds(ids: Sequence[int], n_folds: int, seed: int) -> list[int]:
    """A balanced fold for each image, by a seeded shuffle of the ids; order of the list does not matter."""
    shuffled = sorted(ids)
    random.Random(f"{seed}/folds").shuffle(shuffled)
    fold_of = {id_: rank % n_folds for rank, id_ in enumerate(shuffled)}
    return [fold_of[id_] for id_ in ids]
