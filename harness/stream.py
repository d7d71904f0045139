"""Images -> preprocessed batches -> backbone -> Batch. The only place where a network runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from harness.batching import batch_size_for
from harness.data._released import read_released
from harness.data.dataset import Dataset, Skipped
from harness.decoding import Decoder
from harness.density import sigma_for
from harness.distributed import is_mine
from harness.extraction import Extractor, no_room
from harness.feature_cache import FeatureCache
from harness.feature_cache import Precision as FeaturePrecision
from harness.order import Place, assign_folds, blocks, my_batches
from harness.timing import Stopwatch
from harness.types import Batch, LayerSpec, Size

if TYPE_CHECKING:
    from jaxtyping import Float

    from harness._backbone import LoadedBackbone
    from harness.progress import Progress

log = logging.getLogger("salprobe")

LACKING = 0.1
"""A cache that lacks a larger share of a pass' images was not made for that pass."""
STRETCH = 0.03
"""A change of a stimulus' shape that is worth a word; rounding to a patch's size stays below it."""


@dataclass(frozen=True)
class StreamSettings:
    """How images become batches; all but `batch_size`, `workers` and `compile` can change numbers."""

    scale: float = 1.0
    size: Size | None = None
    scales: tuple[float, ...] = (1.0,)
    """Of the network's input: features are the mean of those seen at each."""
    grid: int | Size = 32
    folds: int = 5
    seed: int = 0
    batch_size: int | None = None
    """Images at once through the network; None: as many as do it fastest in the memory there is."""
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0
    compile: bool = False
    on_bad: Literal["error", "skip"] = "error"

    def grid_for(self, size: Size) -> Size:
        """The fitting grid of a stimulus of that size."""
        if not isinstance(self.grid, int):
            return self.grid
        return max(1, round(size[0] / self.grid)), max(1, round(size[1] / self.grid))

    def input_for(self, size: Size) -> Size:
        """The network input's size for a stimulus of that size, before the backbone's rounding."""
        return self.size or (max(1, round(size[0] * self.scale)), max(1, round(size[1] * self.scale)))

    def largest_input_for(self, size: Size) -> Size:
        """The same at the largest of the scales."""
        height, width = self.input_for(size)
        return max(1, round(height * max(self.scales))), max(1, round(width * max(self.scales)))


@dataclass
class Stream:
    """The batches of one split through one backbone; without a backbone, batches carry gaze only.

    With several processes each gets its own share of the images, the same ones in every pass.
    """

    dataset: Dataset
    settings: StreamSettings
    device: torch.device
    backbone: LoadedBackbone | None = None
    layers: tuple[LayerSpec, ...] = ()
    cache: FeatureCache | None = None
    rounding: FeaturePrecision = "fp32"
    """What features are rounded to, whether a cache keeps them or not, so that numbers do not depend on its room."""
    watch: Stopwatch = field(default_factory=Stopwatch)
    skipped: dict[int, Skipped] = field(default_factory=dict)
    at_once: dict[int | None, dict[Size, int]] = field(default_factory=dict)
    """By epoch, how many images of a size made a batch: a pass that goes on is cut as it was before."""

    def __post_init__(self) -> None:
        self.folds = assign_folds([int(i) for i in self.dataset.ids], self.settings.folds, self.settings.seed)
        self._fits: dict[Size, int] = {}
        self._extractor = None
        if self.backbone is not None:
            self._extractor = Extractor(self.backbone, self.layers, self.settings, self.device, self.rounding)

    @property
    def n_mine(self) -> int:
        """Images that this process sees in a pass."""
        return sum(map(is_mine, range(len(self.dataset))))

    def distortion(self) -> str | None:
        """A sentence where stimuli are stretched on their way into the network; None where they are not."""
        if self.backbone is None:
            return None
        for size in self.dataset.sizes:
            height, width = self._input_size(size)
            stretch = (height / size[0]) / (width / size[1])
            if abs(stretch - 1) > STRETCH:
                return (
                    f"{size[0]}x{size[1]} stimuli enter the network as {height}x{width}, their shape changed by "
                    f"{stretch - 1:+.0%} in height: input.scale keeps it"
                )
        return None

    def batches(self, epoch: int | None = None, rows: Sequence[int] | None = None, after: int = -1) -> Iterator[Batch]:
        """One pass, over all images or over some rows. Every batch holds images of one size and one fold.

        The order is seeded by `epoch`; `epoch=None` keeps the dataset's order as far as sizes allow. Only what comes
        `after` that turn is read, in the batches of the whole pass.
        """
        plan = self._plan(epoch, rows, after)
        if self.backbone is None:
            yield from (self._batch(places, {}) for places in plan)
        elif self.cache is not None and self._serves(self.cache, plan):
            yield from self._from_cache(self.cache, plan)
        else:
            yield from self._through_backbone(plan, self.cache if rows is None else None)

    def refill(self, progress: Progress) -> None:
        """Read again what a first pass put into a cache that went with its process, in the batches of that pass."""
        cache = self.cache
        if self.backbone is None or cache is None or cache.complete or cache.given_up:
            return
        plan = [places for places in self._plan(0) if any(self._lacks(place.row) for place in places)]
        phase = progress.phase("features of the first pass again", sum(map(len, plan)))
        with phase as bar, closing(self._through_backbone(plan, cache)) as batches:  # type: ignore[type-var]
            for batch in batches:
                bar.advance(len(batch))
        cache.close()

    def block_ends(self, epoch: int) -> list[int]:
        """The turns at which a block of a pass is over."""
        return [block[-1].turn + 1 for block in self._blocks(epoch)]

    def n_until(self, epoch: int | None, turn: int) -> int:
        """How many of this process' images come up to that turn of a pass."""
        places = (place for block in self._blocks(epoch) for place in block)
        return sum(place.turn <= turn and is_mine(place.row) for place in places)

    def ids_of_a_pass(self) -> list[int]:
        """All images in the order of `batches()` where one process reads them all."""
        return [int(self.dataset.ids[place.row]) for block in self._blocks() for place in block]

    def _plan(self, epoch: int | None = None, rows: Sequence[int] | None = None, after: int = -1) -> list[list[Place]]:
        at_once = self.at_once.setdefault(epoch, {}) if rows is None else {}

        def batch_size(row: int) -> int:
            size = self.dataset.size(row)
            if size not in at_once:
                at_once[size] = self._batch_size(row)
            return at_once[size]

        plan = my_batches(self._blocks(epoch, rows), batch_size)
        left = ([place for place in places if place.turn > after] for places in plan)
        return [places for places in left if places]

    def _lacks(self, row: int) -> bool:
        """Whether the cache was made for that image and does not have it."""
        return self.cache is not None and self.cache.takes(row) and row not in self.cache and row not in self.skipped

    def _blocks(self, epoch: int | None = None, rows: Sequence[int] | None = None) -> list[list[Place]]:
        chosen = range(len(self.dataset)) if rows is None else rows
        return blocks(chosen, self.dataset.size, self.folds, self.settings.seed, epoch)

    def _serves(self, cache: FeatureCache, plan: list[list[Place]]) -> bool:
        """Whether the cache has these images, but for a few that were bad when it was filled."""
        places = [place for places in plan for place in places]
        lacking = [place for place in places if place.row not in cache and place.row not in self.skipped]
        return cache.complete and len(lacking) <= LACKING * len(places)

    def _from_cache(self, cache: FeatureCache, plan: list[list[Place]]) -> Iterator[Batch]:
        for batch in plan:
            wanted = [place for place in batch if place.row not in self.skipped]
            for known, run in groupby(wanted, lambda place: place.row in cache):  # in turn
                places = list(run)
                if not known:  # bad images when a kept cache was filled: met again, they are reported again
                    yield from self._through_backbone([places], None)
                    continue
                with self.watch("cache", self.device):
                    # back to float32: readouts and strangers' probes compute in the features' own precision
                    features = {n: x.float() for n, x in cache.get([p.row for p in places], self.device).items()}
                yield self._batch(places, features)

    def _through_backbone(self, plan: list[list[Place]], cache: FeatureCache | None) -> Iterator[Batch]:
        with closing(self._decoder.batches(plan)) as waiting:  # its processes end with the pass, whatever ends it
            while True:
                with self.watch("decode", self.device):
                    decoded = next(waiting, None)
                if decoded is None:
                    break
                self._note_bad(decoded.bad)
                if not decoded.places:
                    continue
                assert isinstance(decoded.pixels, Tensor)
                for places, features in self._in_memory(decoded.places, decoded.pixels):
                    if cache is not None:
                        _put(cache, places, features)
                    yield self._batch(places, features)
        # what a pass that went on did not read is not there: `refill` reads it when it is wanted
        if cache is not None and not any(map(self._lacks, range(len(self.dataset)))):
            cache.close()

    @cached_property
    def _decoder(self) -> Decoder:
        assert self.backbone is not None
        targets = {size: self._input_size(size) for size in self.dataset.sizes}
        return Decoder(self.dataset, targets, self.device, self.settings.workers)

    def _input_size(self, size: Size) -> Size:
        assert self._extractor is not None
        return self._extractor.input_size(size)

    def _batch_size(self, row: int) -> int:
        """At most so many images of that image's size at once."""
        if self.settings.batch_size is not None:
            return self.settings.batch_size
        size = self.settings.largest_input_for(self.dataset.size(row))
        return batch_size_for(size, self.layers, self.device, self.settings.precision)

    def _note_bad(self, bad: Sequence[tuple[Place, Exception]]) -> None:
        for place, error in bad:
            if self.settings.on_bad == "error":
                raise error
            id_, file = int(self.dataset.ids[place.row]), str(self.dataset.files[place.row])
            self.skipped[place.row] = Skipped(id_, file, str(error))

    def _in_memory(self, places: list[Place], pixels: Tensor) -> Iterator[tuple[list[Place], dict[str, Tensor]]]:
        """The batch's features, in as many parts as the device's memory asks for."""
        extractor = self._extractor
        assert extractor is not None
        size: Size = (pixels.shape[-2], pixels.shape[-1])
        start = 0
        while start < len(places):
            step = min(self._fits.get(size, len(places)), len(places) - start)
            try:
                with self.watch("forward", self.device):
                    features = extractor.features(pixels[start : start + step], self.dataset.size(places[start].row))
            except torch.OutOfMemoryError as error:
                self._fits[size] = self._fewer(step, size, error)
                continue
            yield places[start : start + step], features
            start += step

    def _fewer(self, step: int, size: Size, error: Exception) -> int:
        """Half as many; raises DeviceMemoryError where not even one image fits."""
        if step == 1:
            raise no_room(self.device, size, "lower input.scale, or use another device") from error
        log.warning("%s is out of memory with %d images at once, going on with %d", self.device, step, step // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return step // 2

    def _batch(self, places: Sequence[Place], features: dict[str, Tensor]) -> Batch:
        size = self.dataset.size(places[0].row)
        return Batch(
            ids=tuple(int(self.dataset.ids[place.row]) for place in places),
            size=size,
            grid=self.settings.grid_for(size),
            points=tuple(self.dataset.points(place.row) for place in places),
            # outside inference mode, so that heads may train on them
            features={name: f.clone() if f.is_inference() else f for name, f in features.items()},
            folds=tuple(self.folds[place.row] for place in places),
            sigma=sigma_for(size[0]),
            device=self.device,
            turns=tuple(place.turn for place in places),
            released=self._released(places),
        )

    def _released(self, places: Sequence[Place]) -> Float[Tensor, "b H W"] | None:
        """The dataset's own densities, if it has them."""
        if not self.dataset.maps:
            return None
        found = []
        for place in places:
            id_, map_ = int(self.dataset.ids[place.row]), self.dataset.maps[place.row]
            found.append(torch.from_numpy(read_released(map_, id_, self.dataset.size(place.row))))
        return torch.stack(found).to(self.device)


def _put(cache: FeatureCache, places: list[Place], features: dict[str, Tensor]) -> None:
    """Those of the batch that the cache was made for."""
    taken = [index for index, place in enumerate(places) if cache.takes(place.row)]
    if len(taken) == len(places):
        cache.put([place.row for place in places], features)
    elif taken:
        cache.put([places[index].row for index in taken], {name: x[taken] for name, x in features.items()})
