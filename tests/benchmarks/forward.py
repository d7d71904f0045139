"""The forward pass alone on a run's images: each training and held-out image once, nothing done with its features."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from harness._backbone import LoadedBackbone
from harness.batching import batch_size_for
from harness.cells import Group
from harness.data.dataset import Dataset, Split
from harness.data.images import read_image, resize_image
from harness.extraction import prepare
from harness.machine import stream_settings
from harness.plan import Plan
from harness.precision import autocast
from harness.stream import StreamSettings

CPU = torch.device("cpu")
SPLITS: tuple[Split, Split] = ("train", "test")


@dataclass(frozen=True)
class Forward:
    """Seconds of one pass over all images of a plan."""

    bare: float
    """Decoded in a worker process, preprocessed, through the network."""
    network: float
    """The part of `bare` that is preprocessing and network."""

    def details(self, matrix: float) -> dict[str, Any]:
        """As it is published: each way and the matrix over it."""
        ways = {"decode, preprocess, network": self.bare, "network only": self.network}
        return {name: {"seconds": seconds, "matrix_over_it": matrix / seconds} for name, seconds in ways.items()}


def measure_forward(plan: Plan) -> Forward:
    """One pass over both splits; loading the network and choosing kernels comes before the clock."""
    group = next(group for group in plan.groups if group.backbone is not None)
    settings = stream_settings(plan.recipe, plan.reader, CPU)
    splits = [plan.reader.read(split) for split in SPLITS]
    backbone = load(group, settings)
    names = [layer.name for layer in group.layers]
    bare_pass(splits[1].take([0]), settings, backbone, names)
    start, network = time.perf_counter(), 0.0
    for split in splits:
        network += bare_pass(split, settings, backbone, names)
    return Forward(time.perf_counter() - start, network)


def load(group: Group, settings: StreamSettings) -> LoadedBackbone:
    """The group's network in the stream's precision and memory format."""
    assert group.backbone is not None
    backbone = group.backbone.load(CPU)
    prepare(backbone)
    return backbone


def bare_pass(dataset: Dataset, settings: StreamSettings, backbone: LoadedBackbone, names: list[str]) -> float:
    """All images of a split through the network, batch by batch; returns the seconds without decoding."""
    files = _Decoded(dataset, settings, backbone)
    loader = DataLoader(files, batch_size=batch_size(dataset, settings), num_workers=settings.workers)
    seconds = 0.0
    for pixels in loader:
        start = time.perf_counter()
        through(pixels, settings, backbone, names)
        seconds += time.perf_counter() - start
    return seconds


@torch.no_grad()
def through(pixels: Tensor, settings: StreamSettings, backbone: LoadedBackbone, names: list[str]) -> dict[str, Tensor]:
    """Bytes (b, 3, h, w) to native features (b, c, h, w) of the named layers."""
    x = backbone.preprocessing(pixels, torch.float32).contiguous(memory_format=torch.channels_last)
    with autocast(settings.precision, CPU):
        return dict(backbone.forward(x, names))


def decoded(dataset: Dataset, settings: StreamSettings, backbone: LoadedBackbone) -> list[Tensor]:
    """All images as bytes at the network's input size, batch by batch."""
    return list(DataLoader(_Decoded(dataset, settings, backbone), batch_size=batch_size(dataset, settings)))


def batch_size(dataset: Dataset, settings: StreamSettings) -> int:
    """As many images at once as the stream takes."""
    return settings.batch_size or batch_size_for(settings.input_for(dataset.size(0)), (), CPU)


class _Decoded(TorchDataset[Tensor]):
    def __init__(self, dataset: Dataset, settings: StreamSettings, backbone: LoadedBackbone) -> None:
        self.dataset, self.settings, self.round = dataset, settings, backbone.preprocessing.input_size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> Tensor:
        image = read_image(self.dataset.files[row], int(self.dataset.ids[row]))
        return resize_image(image, self.round(self.settings.input_for(self.dataset.size(row))))
