"""A network that looks at every image at several sizes: its layers once a scale, so that any probe reads several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from backbones._layers import check_layers
from backbones._registration import centres, moved
from backbones.resnet50 import OUTPUT_STRIDES
from harness import Backbone, LoadedBackbone, Weights, added, backbone
from harness._backbone import BACKBONES
from harness.errors import RecipeError
from harness.types import LayerSpec

if TYPE_CHECKING:
    from jaxtyping import Float

LOG = logging.getLogger("salprobe.backbones")
AT = "@"
LARGEST = 4.0


@backbone("scales")
class Scales(Backbone):
    """Another network that looks at several sizes of each image, also mirrored.

    `of`: the network's name, with its `weights` and `seed`; `scales` of the input. Layers: `layer3@0.5`.
    `mirror`: every layer is the mean of the image's features and of its mirror image's, mirrored back.
    `stride`: no layer is coarser than so many pixels of the unscaled image, as far as `output_stride` of `of` goes.
    `registered`: features are moved to where the network was measured to look, by up to 10 px for ResNet-50's layer4.
    """

    of: str = "resnet50"
    weights: str = "imagenet"
    """As that network takes them: other networks than resnet50 have `pretrained`."""
    seed: int = 0
    scales: tuple[float, ...] = (1.0, 0.5)
    mirror: bool = added(False)
    stride: int | None = added(None)
    registered: bool = added(False)

    def __post_init__(self) -> None:
        """Raises RecipeError for scales that cannot be, or a network that cannot be wrapped."""
        wrong = [scale for scale in self.scales if not 0 < scale <= LARGEST]
        if wrong or not self.scales or len(set(self.scales)) < len(self.scales):
            raise RecipeError(f"scales: {list(self.scales)} must be different numbers above 0 and up to {LARGEST:g}")
        if self.stride is not None and self.stride < 1:
            raise RecipeError(f"scales: stride {self.stride} must be positive")
        if self.of == self.name:
            raise RecipeError("scales: cannot look through itself; name a network by 'of'")

    @property
    def label(self) -> str:
        """The network's, and the scales: `resnet50@1+0.5`, `resnet50@1+0.5+mirror`."""
        sights = [f"{scale:g}" for scale in self.scales]
        sights += ["mirror"] * self.mirror + [f"stride{self.stride}"] * (self.stride is not None)
        sights += ["registered"] * self.registered
        return f"{self.network.label}{AT}{'+'.join(sights)}"

    @cached_property
    def network(self) -> Backbone:
        """The wrapped one as it is trained; raises RecipeError where it does not take `weights`, or `seed` if given."""
        return self._made()

    @cached_property
    def networks(self) -> dict[float, Backbone]:
        """The wrapped one as each scale sees it; raises RecipeError where `stride` is given and it cannot be denser."""
        if self.stride is None:
            return dict.fromkeys(self.scales, self.network)
        return {scale: self._made(output_stride=_output_stride(self.stride * scale)) for scale in self.scales}

    def _made(self, **more: int) -> Backbone:
        given = {"weights": self.weights, **({"seed": self.seed} if self.seed else {}), **more}
        try:
            return BACKBONES.get(self.of)(**given)
        except TypeError as error:
            raise RecipeError(f"scales: {self.of} cannot be made from {', '.join(given)} alone: {error}") from error

    def available_layers(self) -> tuple[LayerSpec, ...]:
        """Every layer of the network at every scale, shallow to deep; strides are those in the unscaled input."""
        return tuple(
            replace(layer, name=at(layer.name, scale), stride=max(1, round(layer.stride / scale)))
            for layers in zip(*(network.available_layers() for network in self.networks.values()), strict=True)
            for scale, layer in zip(self.networks, layers, strict=True)
        )

    def blocks(self) -> tuple[str, ...]:
        """The network's at every scale."""
        return tuple(at(name, scale) for name in self.network.blocks() for scale in self.scales)

    def stages(self) -> tuple[str, ...]:
        """The network's stages at every scale."""
        return tuple(at(name, scale) for name in self.network.stages() for scale in self.scales)

    def depth(self, layer: str) -> int:
        """That of the network's layer, whatever the scale."""
        return self.network.depth(layer.rpartition(AT)[0])

    def find_weights(self) -> Weights | None:
        """The network's."""
        return self.network.find_weights()

    def load(self, device: torch.device) -> LoadedScales:
        """Raises WeightsError, as the network does."""
        loaded = {network: network.load(device) for network in dict.fromkeys(self.networks.values())}
        at_scale = {f"{scale:g}": loaded[network] for scale, network in self.networks.items()}
        known = self._centres(loaded.get(self.network), device) if self.registered else {}
        return LoadedScales(at_scale, self.available_layers(), self.label, mirror=self.mirror, centres=known)

    def _centres(self, loaded: LoadedBackbone | None, device: torch.device) -> dict[str, float]:
        """Of the network as it is trained: denser positions are more of the same."""
        found = centres(loaded or self.network.load(device), self.network.available_layers())
        LOG.info("%s looks at these pixels with its first positions: %s", self.network.label, found)
        return found


class LoadedScales(LoadedBackbone):
    """Resizes the network's input (bilinear, antialiased) and runs it once a scale, mirrored a second time."""

    def __init__(
        self,
        networks: Mapping[str, LoadedBackbone],
        layers: tuple[LayerSpec, ...],
        label: str,
        *,
        mirror: bool = False,
        centres: Mapping[str, float] | None = None,
    ) -> None:
        """`networks`: by scale, as layers' names have it; one and the same, or with strides of their own.

        `centres`: of the first position of each of the network's layers, for features that are to be moved.
        """
        self.networks, self.layers, self.label, self.mirror = dict(networks), layers, label, mirror
        self.centres = dict(centres or {})
        self.distinct = tuple(dict.fromkeys(self.networks.values()))
        first = self.distinct[0]
        self.weights, self.preprocessing, self.device = first.weights, first.preprocessing, first.device
        modules = [getattr(network, "module", None) for network in self.distinct]
        self.module = nn.ModuleList(module for module in modules if isinstance(module, nn.Module)).eval() or None

    def forward(
        self, images: Float[Tensor, "b 3 h w"], layers: Sequence[str]
    ) -> Mapping[str, Float[Tensor, "b c h w"]]:
        """Raises RecipeError for an unknown layer."""
        check_layers(layers, self.layers, self.label)
        found: dict[str, Tensor] = {}
        for scale in dict.fromkeys(name.rpartition(AT)[2] for name in layers):
            wanted = [name.rpartition(AT)[0] for name in layers if name.rpartition(AT)[2] == scale]
            seen = self._seen(self.networks[scale], self.preprocessing.rescaled(images, float(scale)), wanted)
            found |= {f"{name}{AT}{scale}": features for name, features in seen.items()}
        return {name: found[name] for name in layers}

    def _seen(
        self, network: LoadedBackbone, images: Float[Tensor, "b 3 h w"], layers: Sequence[str]
    ) -> Mapping[str, Tensor]:
        seen = self._registered(network.forward(images, layers), images)
        if not self.mirror:
            return seen
        mirrored = self._registered(network.forward(images.flip(-1), layers), images)
        return {name: (features + mirrored[name].flip(-1)) / 2 for name, features in seen.items()}

    def _registered(self, seen: Mapping[str, Tensor], images: Float[Tensor, "b 3 h w"]) -> Mapping[str, Tensor]:
        if not self.centres:
            return seen
        size = images.shape[-2], images.shape[-1]
        return {name: moved(features, self.centres[name], size) for name, features in seen.items()}

    def compile(self) -> None:
        """The network's own way."""
        for network in self.distinct:
            network.compile()


def at(layer: str, scale: float) -> str:
    """`layer3@0.5`."""
    return f"{layer}{AT}{scale:g}"


def _output_stride(stride: float) -> int:
    """The largest of the output strides that is not above it, or the smallest."""
    return max((s for s in OUTPUT_STRIDES if s <= stride), default=min(OUTPUT_STRIDES))
