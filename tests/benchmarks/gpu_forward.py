"""The network's forward pass: on images that lie on the device, and with decoding, bare and in the project's stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from backbones.resnet50 import ResNet50
from harness._backbone import LoadedBackbone
from harness.batching import batch_size_for
from harness.data.dataset import Dataset
from harness.data.images import read_image
from harness.decoding import Decoder
from harness.extraction import prepare
from harness.order import blocks, my_batches
from harness.precision import autocast
from harness.stream import Stream, StreamSettings
from harness.types import LayerSpec
from tests.benchmarks.gpu_card import now, seconds

BACKBONE = ResNet50(weights="random")


@dataclass(frozen=True)
class Setup:
    """How features are made: the stream's settings, which layers, on which device."""

    settings: StreamSettings
    device: torch.device
    layers: tuple[LayerSpec, ...]

    def load(self) -> LoadedBackbone:
        """The network on the device, in the stream's memory format."""
        if self.settings.compile:
            compiled = BACKBONE.load(self.device)
            prepare(compiled, compile=True)
            return compiled
        return plain(self.device)

    def stream(self, dataset: Dataset, backbone: LoadedBackbone) -> Stream:
        """A split's batches through the network."""
        return Stream(dataset, self.settings, self.device, backbone, self.layers)

    def batch_size(self, dataset: Dataset) -> int:
        """The stream's own."""
        settings = self.settings
        return settings.batch_size or batch_size_for(settings.input_for(dataset.size(0)), self.layers, self.device)


@cache
def plain(device: torch.device) -> LoadedBackbone:
    """The network, not compiled: frozen, so that one serves everybody."""
    backbone = BACKBONE.load(device)
    prepare(backbone)
    return backbone


def layers_named(names: Sequence[str]) -> tuple[LayerSpec, ...]:
    """Layers of the network, shallow to deep."""
    return tuple(layer for layer in BACKBONE.available_layers() if layer.name in names)


@torch.no_grad()
def through(backbone: LoadedBackbone, pixels: Tensor, setup: Setup) -> dict[str, Tensor]:
    """Bytes (b, 3, h, w) to native features, as the stream runs the network."""
    x = backbone.preprocessing(pixels, torch.float32).contiguous(memory_format=torch.channels_last)
    with autocast(setup.settings.precision, pixels.device):
        return dict(backbone.forward(x, [layer.name for layer in setup.layers]))


def pixels_of(dataset: Dataset, n: int, device: torch.device) -> Tensor:
    """The first images' bytes, on the device."""
    images = [read_image(dataset.files[i], int(dataset.ids[i])) for i in range(n)]
    return torch.stack(images).to(device)


def network_only(dataset: Dataset, setup: Setup, rounds: int, at_once: int | None = None) -> float:
    """Images a second through preprocessing and network, the images already on the device."""
    backbone = setup.load()
    pixels = pixels_of(dataset, min(len(dataset), at_once or setup.batch_size(dataset)), setup.device)
    return len(pixels) / seconds(lambda: through(backbone, pixels, setup), setup.device, rounds)


@contextmanager
def tried_kernels() -> Iterator[None]:
    """Inside, cuDNN tries its convolutions on each new shape and keeps the fastest."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def flops_an_image(dataset: Dataset, setup: Setup) -> int:
    """Operations of one image's forward pass (a multiplication and an addition are two)."""
    backbone, pixels = plain(setup.device), pixels_of(dataset, 1, setup.device)
    with FlopCounterMode(display=False) as counter:
        through(backbone, pixels, setup)
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class Passes:
    """Seconds of one pass over some splits, each image once."""

    images: int
    bare: float
    """Decoded as the stream decodes, preprocessed, through the network; nothing is done with the features."""
    stream: float
    """The project's own stream with nobody at its end: features averaged to the fitting grid too."""
    phases: dict[str, float]
    """Of the stream."""

    @property
    def seconds(self) -> float:
        """What a matrix is compared with: the faster of the two ways."""
        return min(self.bare, self.stream)

    def details(self) -> dict[str, Any]:
        """As it is published."""
        return {"images": self.images, "bare_s": self.bare, "stream_s": self.stream, "stream_phases_s": self.phases}


def passes(splits: Sequence[Dataset], setup: Setup) -> Passes:
    """One pass in each way, after a short one that loads the decoder and chooses kernels."""
    backbone, device = setup.load(), setup.device
    few = splits[0].take(range(min(len(splits[0]), 2 * setup.batch_size(splits[0]))))
    bare_pass(few, setup, backbone)
    for _ in setup.stream(few, backbone).batches():
        pass
    start = now(device)
    for split in splits:
        bare_pass(split, setup, backbone)
    bare = now(device) - start
    phases: dict[str, float] = {}
    start = now(device)
    for split in splits:
        stream = setup.stream(split, backbone)
        for _ in stream.batches():
            pass
        phases = {name: phases.get(name, 0.0) + taken for name, taken in stream.watch.seconds.items()}
    return Passes(sum(map(len, splits)), bare, now(device) - start, phases)


def bare_pass(dataset: Dataset, setup: Setup, backbone: LoadedBackbone) -> None:
    """All images of a split decoded and through the network, with no wait for the device before the end."""
    settings = setup.settings
    targets = {size: settings.input_for(size) for size in dataset.sizes}
    decoder = Decoder(dataset, targets, setup.device, settings.workers)
    order = blocks(range(len(dataset)), dataset.size, [0] * len(dataset), settings.seed, None)
    at_once = setup.batch_size(dataset)
    for decoded in decoder.batches(my_batches(order, lambda _: at_once)):
        assert isinstance(decoded.pixels, Tensor)
        through(backbone, decoded.pixels, setup)
