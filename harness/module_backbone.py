"""Any torch module as a backbone: layers as data, hooks where they are, digest, frozen, in eval mode."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from harness._backbone import Backbone, LoadedBackbone, Preprocessing, Weights
from harness._parameters import class_of, parameters_of, signature_of
from harness.blame import blaming
from harness.errors import PluginError, RecipeError, WeightsError
from harness.types import LayerSpec

if TYPE_CHECKING:
    from jaxtyping import Float

RANDOM = "random"
"""What weights are called, or how their name begins, that were drawn, not trained."""
IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What torchvision's and most of timm's weights expect."""


@dataclass(frozen=True, kw_only=True)
class ModuleBackbone(Backbone):
    """A backbone from a torch module: say its `layers`, its `preprocessing`, and how to `build` it."""

    weights: str = RANDOM
    """Which weights: a word that `build` knows; `random` is the untrained control."""
    seed: int = 0
    """Of the random weights."""

    layers: ClassVar[Mapping[str, tuple[int, int]]]
    """Name -> (channels, stride), shallow to deep; a name is that of a submodule, unless `submodules` says another."""
    submodules: ClassVar[Mapping[str, str]] = {}
    """Layer -> the submodule whose output it is."""
    preprocessing: ClassVar[Preprocessing] = IMAGENET

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with its weights; random ones are drawn from `seed` without further ado."""

    def features(self, layer: str, output: Any) -> Float[Tensor, "b c h w"]:
        """What a submodule returned as features; tokens need folding to a grid here. Raises PluginError."""
        if isinstance(output, Tensor) and output.dim() == 4:
            return output
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise PluginError(f"{self.label}: layer {layer} gives {shape}, not (b, c, h, w): fold it in features()")

    def available_layers(self) -> tuple[LayerSpec, ...]:
        """As declared."""
        return tuple(LayerSpec(name, channels, stride) for name, (channels, stride) in self.layers.items())

    def find_weights(self) -> Weights | None:
        """Random ones are always here; of others nobody knows before `build`."""
        return self._describe(self._built()) if self.weights == RANDOM else None

    def load(self, device: torch.device) -> LoadedBackbone:
        """The frozen network; raises WeightsError where `build` fails, PluginError for a submodule it lacks."""
        module = self._built()
        hooked = {name: self.submodules.get(name, name) for name in self.layers}
        missing = sorted(set(hooked.values()) - {name for name, _ in module.named_modules()})
        if missing:
            raise PluginError(f"{self.label}: the network has no submodule {missing[0]!r}; mend layers or submodules")
        weights = self._describe(module)
        return HookedModule(module.to(device), hooked, self.features, weights, self.preprocessing, device)

    def _built(self) -> nn.Module:
        cannot = f"{self.label}: weights {self.weights} cannot be had"
        with blaming(cannot, WeightsError), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            module = self.build()
        return module.requires_grad_(False).eval()

    def _describe(self, module: nn.Module) -> Weights:
        found = self.weights, f"{type(self).__module__}, {self.weights}"
        name, source = drawn(self.seed) if self.weights == RANDOM else found
        return Weights(name, digest_of(module), source)


class HookedModule(LoadedBackbone):
    """Runs the module until the last layer asked for has been computed."""

    def __init__(
        self,
        module: nn.Module,
        hooked: Mapping[str, str],
        features: Callable[[str, Any], Tensor],
        weights: Weights,
        preprocessing: Preprocessing,
        device: torch.device,
    ) -> None:
        self.module, self.hooked, self.features = module, hooked, features
        self.weights, self.preprocessing, self.device = weights, preprocessing, device

    def forward(
        self, images: Float[Tensor, "b 3 h w"], layers: Sequence[str]
    ) -> Mapping[str, Float[Tensor, "b c h w"]]:
        """Raises RecipeError for an unknown layer, PluginError for one that the network never came by."""
        unknown = [name for name in layers if name not in self.hooked]
        if unknown:
            raise RecipeError(f"no layer {unknown[0]!r}; there are: {', '.join(self.hooked)}")
        found: dict[str, Tensor] = {}
        with torch.inference_mode(), self._hooks(layers, found), suppress(_EnoughError):
            self.module(images)
        lost = [name for name in layers if name not in found]
        if lost:
            raise PluginError(f"the network's forward never ran {self.hooked[lost[0]]!r}, the layer {lost[0]}")
        return {name: found[name] for name in layers}

    def compile(self) -> None:
        """Stays as it is: a compiled module would not stop at a hook."""

    @contextmanager
    def _hooks(self, layers: Sequence[str], found: dict[str, Tensor]) -> Iterator[None]:
        def keep(name: str) -> Callable[..., None]:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                # a copy: the next module may work in place
                found[name] = self.features(name, output).clone()
                if len(found) == len(set(layers)):
                    raise _EnoughError

            return hook

        handles = [self.module.get_submodule(self.hooked[n]).register_forward_hook(keep(n)) for n in set(layers)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def drawn(seed: int) -> tuple[str, str]:
    """(name, source) of weights drawn with that seed: `random`, of another draw than the first `random-1`."""
    return f"{RANDOM}-{seed}" if seed else RANDOM, f"{RANDOM}(seed={seed})"


def asked_weights(backbone: Backbone) -> str:
    """What a backbone's weights are called before they are found: as asked for, drawn ones with their seed."""
    return drawn(getattr(backbone, "seed", 0))[0] if backbone.weights == RANDOM else backbone.weights


def untrained(weights: str) -> bool:
    """Whether weights of that name were drawn."""
    return weights.startswith(RANDOM)


class _EnoughError(Exception):
    """All layers are there."""


def digest_of(module: nn.Module) -> str:
    """sha256 over names, types, shapes and bytes of all parameters and buffers."""
    total = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def backbone_from_function(
    function: Callable[..., nn.Module], layers: Mapping[str, tuple[int, int]], preprocessing: Preprocessing
) -> type[ModuleBackbone]:
    """A function `build(*, weights: str = "random")` as a backbone; raises PluginError."""
    signature = signature_of(function, ())

    def build(self: ModuleBackbone) -> nn.Module:
        return function(**parameters_of(self, signature))

    return class_of(function, ModuleBackbone, signature, build=build, layers=layers, preprocessing=preprocessing)
