"""What a backbone must keep."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from harness._backbone import BACKBONES, Backbone, LoadedBackbone, Preprocessing
from harness.testing._checks import (
    TOLERANCE,
    Check,
    configured,
    cuda,
    difference,
    raise_failures,
    require,
    run_checks,
)
from harness.testing._documented import require_documented
from harness.types import Size

SIZE: Size = (64, 96)
CPU = torch.device("cpu")


@dataclass
class BackboneCase:
    """A configured backbone; its weights are loaded once."""

    backbone: Backbone

    @cached_property
    def loaded(self) -> LoadedBackbone:
        """On the CPU."""
        return self.backbone.load(CPU)

    @property
    def names(self) -> list[str]:
        """All layers, shallow to deep."""
        return [layer.name for layer in self.backbone.available_layers()]

    def images(self, n: int = 2) -> Tensor:
        """Seeded noise, preprocessed; (n, 3, h, w)."""
        size = self.loaded.preprocessing.input_size(SIZE)
        pixels = torch.randint(0, 256, (n, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        return self.loaded.preprocessing(pixels, torch.float32)

    @cached_property
    def features(self) -> dict[str, Tensor]:
        """Of two images, all layers."""
        found = self.loaded.forward(self.images(), self.names)
        return {name: x.float().clone() for name, x in found.items()}


def documented_parameters(case: BackboneCase) -> None:
    """It says what it is and what its parameters do."""
    require_documented(type(case.backbone))


def declared_layers(case: BackboneCase) -> None:
    """Layers as data: named once, with channels and strides, and the stages and blocks are among them."""
    layers = case.backbone.available_layers()
    require(len(layers) > 0, "available_layers() is empty: declare at least one layer")
    require(len(set(case.names)) == len(layers), "two layers have one name")
    odd = [layer for layer in layers if layer.channels < 1 or layer.stride < 1]
    require(not odd, f"{odd[0] if odd else ''}: channels and stride must be positive")
    for words, named in (("stages()", case.backbone.stages()), ("blocks()", case.backbone.blocks())):
        strange = [name for name in named if name not in case.names]
        require(not strange, f"{words} names {strange}, which available_layers() does not")


def loads_with_a_digest(case: BackboneCase) -> None:
    """Weights are named, and their sha256 is the same every time."""
    weights = case.loaded.weights
    words = f"weights.sha256 is {weights.sha256!r}: hash the tensors as loaded (64 hex digits)"
    require(bool(re.fullmatch(r"[0-9a-f]{64}", weights.sha256)), words)
    again = case.backbone.load(CPU).weights
    require(again == weights, "two loads give other weights: seed what is random, do not fetch what may change")
    found = case.backbone.find_weights()
    require(found is None or found == weights, "find_weights() tells of other weights than load() uses")
    require(isinstance(case.loaded.preprocessing, Preprocessing), "preprocessing must be a harness.Preprocessing")


def shapes_as_declared(case: BackboneCase) -> None:
    """Each layer is (b, channels, about h / stride, about w / stride), floating point."""
    height, width = case.images().shape[-2:]
    require(list(case.features) == case.names, f"forward returned {list(case.features)}, asked for {case.names}")
    for layer in case.backbone.available_layers():
        shape = tuple(case.features[layer.name].shape)
        wanted = f"(2, {layer.channels}, about {height / layer.stride:g}, about {width / layer.stride:g})"
        good = len(shape) == 4 and shape[:2] == (2, layer.channels)
        good = good and abs(shape[2] - height / layer.stride) <= 1 and abs(shape[3] - width / layer.stride) <= 1
        require(good, f"layer {layer.name} is {shape}, declared was {wanted}: mend available_layers()")


def frozen_and_in_eval_mode(case: BackboneCase) -> None:
    """Nothing trains, drops out or updates statistics."""
    module = getattr(case.loaded, "module", None)
    if isinstance(module, nn.Module):
        training = [name or "the network" for name, part in module.named_modules() if part.training]
        require(not training, f"{training[0] if training else ''} is in training mode: call .eval()")
        free = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        require(not free, f"{free[0] if free else ''} requires a gradient: call .requires_grad_(False)")
    found = case.loaded.forward(case.images(), case.names)
    require(not any(x.requires_grad for x in found.values()), "features carry gradients: run under torch.no_grad()")


def same_features_again(case: BackboneCase) -> None:
    """The same images give the same features."""
    words = "the same images give other features: is dropout on, is something drawn in forward?"
    found = case.loaded.forward(case.images(), case.names)
    require(max(difference(case.features[name], found[name]) for name in case.names) <= 1e-5, words)


def layers_one_by_one(case: BackboneCase) -> None:
    """A layer asked for alone is what it is among others."""
    for name in case.names:
        found = case.loaded.forward(case.images(), [name])
        require(list(found) == [name], f"asked for {name} alone, forward returned {list(found)}")
        far = difference(case.features[name], found[name].float())
        words = f"{name} asked for alone differs by {far:.1%}: does a later module change it in place? Return a copy"
        require(far <= TOLERANCE, words)


def every_image_alone(case: BackboneCase) -> None:
    """An image's features do not depend on what else is in the batch."""
    found = case.loaded.forward(case.images()[:1], case.names)
    far = max(difference(case.features[name][:1], found[name].float()) for name in case.names)
    require(far <= TOLERANCE, f"alone in its batch an image's features change by {far:.1%}: is it in eval mode?")


def inputs_left_alone(case: BackboneCase) -> None:
    """The images are as they were."""
    images = case.images()
    before = images.clone()
    case.loaded.forward(images, case.names)
    require(torch.equal(images, before), "forward changes the images: make its first module not work in place")


def finite_on_constant_images(case: BackboneCase) -> None:
    """A black and a white image have finite features."""
    for value in (0, 255):
        pixels = torch.full((1, 3, *case.images().shape[-2:]), value, dtype=torch.uint8)
        found = case.loaded.forward(case.loaded.preprocessing(pixels, torch.float32), case.names)
        bad = [name for name, x in found.items() if not x.isfinite().all()]
        require(not bad, f"layer {bad[0] if bad else ''} of an image of {value}s is not finite")


def works_on_cuda(case: BackboneCase) -> None:
    """On a GPU features are those of the CPU."""
    device = cuda()
    found = case.backbone.load(device).forward(case.images().to(device), case.names)
    far = max(difference(case.features[name], found[name].float().cpu()) for name in case.names)
    require(far <= 10 * TOLERANCE, f"on the GPU features change by {far:.1%}")


BACKBONE_CHECKS: tuple[Callable[[BackboneCase], None], ...] = (
    documented_parameters,
    declared_layers,
    loads_with_a_digest,
    shapes_as_declared,
    frozen_and_in_eval_mode,
    same_features_again,
    layers_one_by_one,
    every_image_alone,
    inputs_left_alone,
    finite_on_constant_images,
    works_on_cuda,
)


def examine_backbone(backbone: str | type[Backbone] | Backbone, **parameters: Any) -> list[Check]:
    """Every check of a backbone by name, class or configured; its weights must be at hand (`weights="random"`)."""
    return run_checks(BackboneCase(configured(BACKBONES, backbone, parameters)), BACKBONE_CHECKS)


def check_backbone(backbone: str | type[Backbone] | Backbone, **parameters: Any) -> list[Check]:
    """The same; raises ContractError for a backbone that breaks its contract."""
    name = backbone if isinstance(backbone, str) else backbone.name
    return raise_failures("backbone", name, examine_backbone(backbone, **parameters))
