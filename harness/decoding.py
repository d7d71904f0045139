"""Image files -> pixels on the device, decoded beside the network: by worker processes, on CUDA by the GPU itself."""

from __future__ import annotations

import atexit
import io
import logging
import multiprocessing
import signal
import threading
import warnings
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from harness.data.images import read_bytes, read_image, resize_image
from harness.errors import DataError
from harness.interrupt import ignore as ignore_signals

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from jaxtyping import UInt8

    from harness.data.dataset import Dataset
    from harness.order import Place
    from harness.types import Size

log = logging.getLogger("salprobe")

PREFETCHED = 2
"""Batches that a worker keeps ready."""
JPEG = b"\xff\xd8\xff"
_workers: weakref.WeakSet[BaseProcess] = weakref.WeakSet()
"""Every process that has been started for decoding."""


class Decoded(NamedTuple):
    """One batch: what could be decoded, and what could not."""

    places: list[Place]
    pixels: UInt8[Tensor, "b 3 h w"] | list[Tensor]
    """One tensor, or the bytes of the files where the GPU is to decode them."""
    bad: list[tuple[Place, DataError]]


class Decoder:
    """Decodes batches of one split for one device. `targets` gives the network's input size for each stimulus size."""

    def __init__(self, dataset: Dataset, targets: Mapping[Size, Size], device: torch.device, workers: int) -> None:
        self.dataset, self.targets, self.device, self.workers = dataset, targets, device, workers
        self.on_gpu = device.type == "cuda" and gpu_decodes_jpeg(device)

    def batches(self, plan: Sequence[Sequence[Place]]) -> Generator[Decoded]:
        """The batches of a pass in their order, pixels on the device; images that cannot be used come back as `bad`."""
        for loaded in self._loaded(plan):
            if isinstance(loaded.pixels, Tensor):
                yield loaded._replace(pixels=loaded.pixels.to(self.device, non_blocking=True))
            else:
                yield self._decoded_here(loaded)

    def _loaded(self, plan: Sequence[Sequence[Place]]) -> Iterator[Decoded]:
        """What the workers send; where one of them has ended, the rest of the pass is decoded in this process."""
        workers, done = min(self.workers, len(plan)), 0
        waiting = self._load(plan, workers)
        while done < len(plan):
            try:
                loaded = next(waiting)
            except RuntimeError as error:
                if not workers or "DataLoader worker" not in str(error):
                    raise
                log.warning(
                    "a process that decodes images has ended (%s; out of memory?): the rest of this pass is decoded "
                    "without; fewer workers take less memory",
                    error,
                )
                workers, waiting = 0, self._load(plan[done:], 0)
                continue
            done += 1
            yield loaded

    def _load(self, plan: Sequence[Sequence[Place]], workers: int) -> Iterator[Decoded]:
        before, others = signal.getsignal(signal.SIGCHLD), set(multiprocessing.active_children())
        found = iter(
            DataLoader(
                _Images(self.dataset, self.targets, encoded=self.on_gpu),
                batch_sampler=plan,  # type: ignore[arg-type]
                num_workers=workers,
                collate_fn=_collate,
                pin_memory=self.device.type == "cuda",
                prefetch_factor=PREFETCHED if workers else None,
                worker_init_fn=_start_worker,
            )
        )
        _workers.update(set(multiprocessing.active_children()) - others)
        if threading.current_thread() is threading.main_thread():
            # torch would raise the death of a worker wherever this process is, in the middle of a cell's work
            signal.signal(signal.SIGCHLD, before)
        return found

    def _decoded_here(self, loaded: Decoded) -> Decoded:
        """Files' bytes decoded on the GPU; those it refuses go through the CPU, which also names what is wrong."""
        files = loaded.pixels
        jpegs = [i for i, data in enumerate(files) if bytes(data[:3].tolist()) == JPEG]
        images: dict[int, Tensor] = {}
        try:
            images = dict(zip(jpegs, _decode_jpegs([files[i] for i in jpegs], self.device), strict=True))
        except RuntimeError as error:
            log.debug("the GPU did not decode a batch: %s", error)
        places, pixels, bad = [], [], list(loaded.bad)
        for i, place in enumerate(loaded.places):
            try:
                image = images[i] if i in images else read_image(*_file(self.dataset, place.row)).to(self.device)
                pixels.append(_fitted(image, self.dataset, self.targets, place.row))
                places.append(place)
            except DataError as error:
                bad.append((place, error))
        return Decoded(places, torch.stack(pixels) if pixels else [], bad)


class _Images(TorchDataset[tuple["Place", "Tensor | DataError"]]):
    """One image decoded and resized, or its file's bytes; an error travels back as a value, and names the file."""

    def __init__(self, dataset: Dataset, targets: Mapping[Size, Size], *, encoded: bool) -> None:
        self.dataset, self.targets, self.encoded = dataset, targets, encoded

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: Place) -> tuple[Place, Tensor | DataError]:
        try:
            if self.encoded:
                data = read_bytes(*_file(self.dataset, place.row))
                return place, torch.from_numpy(np.frombuffer(data, np.uint8).copy())
            image = read_image(*_file(self.dataset, place.row))
            return place, _fitted(image, self.dataset, self.targets, place.row)
        except DataError as error:
            return place, error


def _start_worker(number: int) -> None:
    ignore_signals()


@atexit.register
def _end_workers() -> None:
    """Those of passes that nobody has finished: Python would ask them to end, which they ignore, and wait for it."""
    for process in _workers & set(multiprocessing.active_children()):
        process.kill()


def _file(dataset: Dataset, row: int) -> tuple[Path, int]:
    return dataset.files[row], int(dataset.ids[row])


def _fitted(image: Tensor, dataset: Dataset, targets: Mapping[Size, Size], row: int) -> Tensor:
    """The image at the network's input size; raises DataError where it is not of the annotated size."""
    expected = dataset.size(row)
    if tuple(image.shape[1:]) != expected:
        file, id_ = _file(dataset, row)
        raise DataError(f"image {id_} ({file}) is {tuple(image.shape[1:])}, its annotation says {expected}")
    return resize_image(image, targets[expected])


def _collate(items: list[tuple[Place, Tensor | DataError]]) -> Decoded:
    good = [(place, image) for place, image in items if isinstance(image, Tensor)]
    bad = [(place, error) for place, error in items if not isinstance(error, Tensor)]
    images = [image for _, image in good]
    decoded = bool(images) and images[0].dim() == 3
    return Decoded([place for place, _ in good], torch.stack(images) if decoded else images, bad)


def _decode_jpegs(files: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    from torchvision.io import ImageReadMode, decode_jpeg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision means to hand its decoders over to TorchCodec
        return list(decode_jpeg(list(files), mode=ImageReadMode.RGB, device=device)) if files else []


@cache
def gpu_decodes_jpeg(device: torch.device) -> bool:
    """Whether torchvision decodes JPEG on this device, and as Pillow does: tried on a small picture."""
    from PIL import Image

    y, x = np.mgrid[0:64, 0:96]
    picture = np.stack([x * 2, y * 3, 128 + 60 * np.sin(x / 9) * np.cos(y / 7)], axis=-1).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=92)
    expected = torch.from_numpy(np.array(Image.open(io.BytesIO(file.getvalue())))).permute(2, 0, 1).float()
    try:
        (found,) = _decode_jpegs([torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)], device)
    except (ImportError, RuntimeError, AttributeError, ValueError) as error:
        log.info("JPEG is decoded by the CPU: %s", error)
        return False
    # another inverse DCT and another interpolation of colour: a grey level or two
    return found.shape == expected.shape and (found.cpu().float() - expected).abs().mean().item() < 2
