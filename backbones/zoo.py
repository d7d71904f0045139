"""Networks of the field by their own names: a timm model with its weights and its layers' names fixed.

ViTs offer every block; `each` and `all` mean every third one, since neighbours differ little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import ClassVar

from backbones._timm_structure import Structure
from backbones.timm import Timm
from harness import backbone

STEM_AND_STAGES = {"act1": "stem"} | {f"layer{depth}": f"layer{depth}" for depth in range(1, 5)}
"""As resnet50 calls them, so that one recipe's `layers` fits all ResNets."""
LAST_OF_EACH_RESOLUTION = {
    "features.3": "relu1_2",
    "features.8": "relu2_2",
    "features.15": "relu3_3",
    "features.22": "relu4_3",
    "features.29": "relu5_3",
}
EVERY_THIRD = ("blocks.2", "blocks.5", "blocks.8", "blocks.11")


class Named(Timm):
    """A timm model under a name of its own: `model` is fixed, `weights` and `seed` are those of `timm`."""

    layer_names: ClassVar[Mapping[str, str]] = {}
    """timm's layer -> its name here; layers left out are not offered. Empty: all, as timm calls them."""
    stage_names: ClassVar[tuple[str, ...]] = ()
    """What `each` and `all` mean; empty: every layer."""

    @property
    def label(self) -> str:
        """The name that stands in the recipe."""
        return self.name

    def structure(self) -> Structure:
        """timm's, with the layers chosen and named; whole strides of the deepest one are enough."""
        found = super().structure()
        if not self.layer_names:
            return found
        names = self.layer_names
        layers = tuple(replace(layer, name=names[layer.name]) for layer in found.layers if layer.name in names)
        return replace(found, layers=layers, multiple_of=min(found.multiple_of, layers[-1].stride))

    def stages(self) -> tuple[str, ...]:
        """The layers that `each` and `all` mean, shallow to deep."""
        return self.stage_names or super().stages()


@backbone("resnet18")
class ResNet18(Named):
    """ResNet-18 (He et al. 2016).

    `weights`: pretrained (ImageNet-1k, torchvision's), random (by `seed`), or a file; `model` is fixed.
    """

    model: str = field(default="resnet18.tv_in1k", init=False)
    layer_names = STEM_AND_STAGES


@backbone("resnet101")
class ResNet101(Named):
    """ResNet-101 (He et al. 2016).

    `weights`: pretrained (ImageNet-1k, torchvision's), random (by `seed`), or a file; `model` is fixed.
    """

    model: str = field(default="resnet101.tv_in1k", init=False)
    layer_names = STEM_AND_STAGES


@backbone("convnext_tiny")
class ConvNeXtTiny(Named):
    """ConvNeXt-T (Liu et al. 2022).

    `weights`: pretrained (ImageNet-1k, the authors'), random (by `seed`), or a file; `model` is fixed.
    """

    model: str = field(default="convnext_tiny.fb_in1k", init=False)


@backbone("vgg16")
class VGG16(Named):
    """VGG-16 (Simonyan & Zisserman 2015).

    `weights`: pretrained (ImageNet-1k, torchvision's), random (by `seed`), or a file; `model` is fixed.
    """

    model: str = field(default="vgg16.tv_in1k", init=False)
    layer_names = LAST_OF_EACH_RESOLUTION


@backbone("dino_vits16")
class DINOViTS16(Named):
    """ViT-S/16 trained without labels by DINO (Caron et al. 2021).

    `weights`: pretrained, random (by `seed`), or a file; `model` is fixed.
    """

    model: str = field(default="vit_small_patch16_224.dino", init=False)
    stage_names = EVERY_THIRD


@backbone("clip_vitb16")
class CLIPViTB16(Named):
    """The image tower of CLIP ViT-B/16 (Radford et al. 2021).

    `weights`: pretrained (OpenAI's), random (by `seed`), or a file; `model` is fixed.
    """

    model: str = field(default="vit_base_patch16_clip_quickgelu_224.openai", init=False)
    stage_names = EVERY_THIRD
