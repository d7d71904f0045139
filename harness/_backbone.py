"""The contract of a backbone: frozen, its layers declared as data, features at native resolution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from harness._plugin import Registering, default_of, registering, subclass_check
from harness.errors import PluginError
from harness.registry import Registry
from harness.types import LayerSpec, Size

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8


@dataclass(frozen=True)
class Preprocessing:
    """What the weights expect of an image, applied to RGB bytes: (x / divide_by - mean) / std, then channel order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    divide_by: float = 255.0
    channel_order: str = "rgb"
    multiple_of: int = 1
    """Height and width of the network's input are rounded to a multiple of this."""

    def __call__(self, images: UInt8[Tensor, "b 3 h w"], dtype: torch.dtype) -> Float[Tensor, "b 3 h w"]:
        """Bytes (RGB) to network input. `mean` and `std` are in RGB order whatever the output order."""
        shape = (1, 3, 1, 1)
        mean = torch.tensor(self.mean, device=images.device).view(shape)
        std = torch.tensor(self.std, device=images.device).view(shape)
        x = (images.float() / self.divide_by - mean) / std
        return (x.flip(1) if self.channel_order == "bgr" else x).to(dtype)

    def input_size(self, size: Size) -> Size:
        """The nearest size this backbone can take."""
        m = self.multiple_of
        return (max(m, round(size[0] / m) * m), max(m, round(size[1] / m) * m))

    def rescaled(self, images: Float[Tensor, "b 3 h w"], scale: float) -> Float[Tensor, "b 3 sh sw"]:
        """Network input at about `scale` times its size (bilinear, antialiased), as far as the backbone can take it."""
        height, width = images.shape[-2:]
        size = self.input_size((max(1, round(height * scale)), max(1, round(width * scale))))
        if size == (height, width):
            return images
        return interpolate(images, size, mode="bilinear", antialias=size[0] < height or size[1] < width)


@dataclass(frozen=True)
class Weights:
    """Which weights really are in the network: the asked-for value resolved, and their digest."""

    name: str
    """The resolved name, e.g. "caffe" where the recipe said "imagenet"."""
    sha256: str
    """Of the tensors (names, shapes, bytes) as loaded; for `random`, of the seeded tensors."""
    source: str
    """Where they came from, for people: a package, a URL's file name, a local file, "random(seed=0)"."""


class Backbone(ABC):
    """A frozen network. A subclass is a frozen dataclass whose fields are its recipe parameters.

    `available_layers` answers without weights (so a plan costs nothing); `load` fetches the weights and returns the
    network ready to run.
    """

    name: ClassVar[str] = "?"
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    weights: str

    @property
    def label(self) -> str:
        """The name in tables, part of every cell's key: by default with the parameters that are not at their defaults.

        `weights` and `seed` are told apart by the weights' digest. A family such as timm gives the model's name.
        """
        own = [f for f in fields(self) if f.name not in ("weights", "seed")]  # type: ignore[arg-type]
        changed = [f"{f.name}={getattr(self, f.name)}" for f in own if getattr(self, f.name) != default_of(f)]
        return self.name + (f"[{','.join(changed)}]" if changed else "")

    @abstractmethod
    def available_layers(self) -> tuple[LayerSpec, ...]:
        """Every layer that can be asked for, shallow to deep. Needs no weights and no network access."""

    def blocks(self) -> tuple[str, ...]:
        """The layers that the recipe word `blocks` means, each alone; by default every layer."""
        return tuple(layer.name for layer in self.available_layers())

    def stages(self) -> tuple[str, ...]:
        """The layers that the recipe word `all` means, shallow to deep; by default every layer."""
        return tuple(layer.name for layer in self.available_layers())

    def depth(self, layer: str) -> int:
        """How many layers lie before that one; by default by the order of `available_layers`."""
        return [known.name for known in self.available_layers()].index(layer)

    @abstractmethod
    def find_weights(self) -> Weights | None:
        """The weights that `load` would use if they are on this machine already, else None. Fetches nothing."""

    @abstractmethod
    def load(self, device: torch.device) -> LoadedBackbone:
        """The network with its weights, frozen, in eval mode; raises WeightsError, never falls back to random."""


class LoadedBackbone(ABC):
    """A network ready to run: weights known, preprocessing attached."""

    weights: Weights
    preprocessing: Preprocessing
    device: torch.device
    compiled: bool = False

    @abstractmethod
    def forward(
        self, images: Float[Tensor, "b 3 h w"], layers: Sequence[str]
    ) -> Mapping[str, Float[Tensor, "b c h w"]]:
        """Features of the named layers at native resolution, for preprocessed images; no gradients."""

    def compile(self) -> None:
        """Let torch.compile speed up `forward`; by default the whole `module`, where there is one."""
        module = getattr(self, "module", None)
        if isinstance(module, torch.nn.Module):
            module.compile()


BACKBONES: Registry[type[Backbone]] = Registry("backbone", "salprobe.backbones", subclass_check(Backbone))


@dataclass_transform(frozen_default=True, kw_only_default=True)
def backbone(
    name: str,
    *,
    layers: Mapping[str, tuple[int, int]] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Registering:
    """Decorator: annotated fields become parameters, and the backbone is registered under `name`.

    Takes a class derived from Backbone (or ModuleBackbone), or, with `layers` as {submodule: (channels, stride)}, a
    function that builds a torch module, whose keyword-only parameters become the fields.
    """

    def adapt(plugin: Any) -> Any:
        from harness.module_backbone import IMAGENET, backbone_from_function

        if isinstance(plugin, type):
            return plugin
        if layers is None:
            raise PluginError(f"backbone {name}: say its layers, @backbone({name!r}, layers={{'layer3': (1024, 16)}})")
        return backbone_from_function(plugin, layers, preprocessing or IMAGENET)

    return registering(BACKBONES, name, adapt)
