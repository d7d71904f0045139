"""Any timm model by name, through timm's own feature interface: CNN feature maps, ViT tokens folded to a grid."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from backbones._download import cached_on_hub, cached_url, fetch_from_hub, fetch_url
from backbones._layers import check_layers
from backbones._tensors import Tensors, cleaned, digest, read_tensors, seeded
from backbones._timm_structure import Structure, build, known_keys, structure
from harness import Backbone, LoadedBackbone, Preprocessing, Weights, backbone
from harness.errors import RecipeError, WeightsError
from harness.module_backbone import drawn
from harness.paths import expanded
from harness.types import LayerSpec

if TYPE_CHECKING:
    from jaxtyping import Float

LOG = logging.getLogger("salprobe.backbones")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@backbone("timm")
class Timm(Backbone):
    """Any network of timm (Wightman 2019) by its name there.

    `model`: one of timm.list_models(). `weights`: pretrained, random (with `seed`), or a state dict's file.
    """

    model: str
    weights: str = "pretrained"
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises RecipeError for a `weights` that is neither a known name nor a file's."""
        if self.weights not in ("pretrained", "random") and not Path(self.weights).suffix:
            raise RecipeError(f"{self.name}: weights {self.weights!r} is none of pretrained, random, or a file")

    @property
    def label(self) -> str:
        """The model's name."""
        return self.model

    def available_layers(self) -> tuple[LayerSpec, ...]:
        """timm's feature stages, or every block of a ViT; raises RecipeError for a model that cannot be used."""
        return self.structure().layers

    def structure(self) -> Structure:
        """The layers and how timm builds them; raises RecipeError for a model that cannot be used."""
        return structure(self.model)

    def find_weights(self) -> Weights | None:
        """Of the checkpoint that `load` would use, if it is on this machine."""
        if self.weights == "random":
            return self._describe(_tensors_of(self._build_random()))
        file = self._file(fetch=False)
        return self._describe(self._read(file)) if file is not None and file.is_file() else None

    def load(self, device: torch.device) -> LoadedTimm:
        """Fetches the weights where needed; raises WeightsError, RecipeError."""
        if self.weights == "random":
            net = self._build_random()
            weights = self._describe(_tensors_of(net))
        else:
            file = self._file(fetch=True)
            assert file is not None
            tensors = self._read(file)
            weights = self._describe(tensors)
            net = self._build_from(tensors, file)
        LOG.info("%s uses weights %s from %s", self.model, weights.name, weights.source)
        LOG.info("%s tensors have SHA-256 %s", self.model, weights.sha256)
        net = net.requires_grad_(False).eval().to(device)
        return LoadedTimm(self.label, net, self.structure(), weights, self._preprocessing(), device)

    def _preprocessing(self) -> Preprocessing:
        import timm.data

        found = self.structure()
        config = cast("Any", timm.data).resolve_model_data_config(build(self.model, found, on="meta"))
        return Preprocessing(mean=tuple(config["mean"]), std=tuple(config["std"]), multiple_of=found.multiple_of)

    def _build_random(self) -> nn.Module:
        with seeded(self.seed):
            return build(self.model, self.structure())

    def _build_from(self, tensors: Tensors, file: Path) -> nn.Module:
        if self.weights != "pretrained":
            _check_complete(tensors, self.model, file)
        try:
            with seeded(0):  # building draws random numbers that loading overwrites
                return build(self.model, self.structure(), tensors)
        except RuntimeError as error:
            raise WeightsError(f"{file} does not fit timm's {self.model}: {error}") from error

    def _read(self, file: Path) -> Tensors:
        return read_tensors(file)[0]

    def _file(self, fetch: bool) -> Path | None:
        """The checkpoint's file; for `pretrained`, None if it is not here and may not be fetched."""
        if self.weights != "pretrained":
            return expanded(self.weights)
        config = _pretrained_config(self.model)
        try:
            return _fetched(config) if fetch else _cached(config)
        except WeightsError as error:
            raise WeightsError(
                f"the pretrained weights of timm's {self.model} cannot be had: {error}.\n"
                "Connect to the internet and run again, or give a file that you have: "
                "`weights: path/to/model.safetensors`.\n(`weights: random` is the untrained control.)"
            ) from error

    def _describe(self, tensors: Tensors) -> Weights:
        if self.weights == "random":
            name, source = drawn(self.seed)
        elif self.weights == "pretrained":
            config = _pretrained_config(self.model)
            name, source = config.tag or "pretrained", config.hf_hub_id or Path(config.url).name
        else:
            name, source = Path(self.weights).name, self.weights
        return Weights(name=name, sha256=digest(tensors), source=source)


class LoadedTimm(LoadedBackbone):
    """A timm feature network; ViTs stop after the deepest layer asked for."""

    def __init__(
        self,
        label: str,
        module: nn.Module,
        structure: Structure,
        weights: Weights,
        preprocessing: Preprocessing,
        device: torch.device,
    ) -> None:
        self.module, self.weights, self.preprocessing, self.device = module, weights, preprocessing, device
        self.label, self.structure = label, structure

    def forward(
        self, images: Float[Tensor, "b 3 h w"], layers: Sequence[str]
    ) -> Mapping[str, Float[Tensor, "b c h w"]]:
        """Raises RecipeError for an unknown layer."""
        check_layers(layers, self.structure.layers, self.label)
        with torch.inference_mode():
            found = run(self.module, self.structure, images, layers)
        return {name: found[name] for name in layers}


def run(net: Any, of: Structure, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """At least the named layers, (b, c, h, w)."""
    names = [layer.name for layer in of.layers]
    if of.through_intermediates:
        wanted = [name for name in names if name in layers]
        indices = [names.index(name) for name in wanted]
        options = {"output_fmt": "NCHW", "intermediates_only": True, "stop_early": True}
        return dict(zip(wanted, net.model.forward_intermediates(images, indices=indices, **options), strict=True))
    features = net(images)
    if of.channels_last:
        features = [x.permute(0, 3, 1, 2) for x in features]
    return dict(zip(names, features, strict=True))


def _tensors_of(net: nn.Module) -> Tensors:
    return cleaned(net.state_dict())


def _check_complete(tensors: Tensors, model: str, file: Path) -> None:
    """timm itself would leave at random whatever a file does not have."""
    missing = sorted(known_keys(model) - tensors.keys())
    if missing:
        raise WeightsError(
            f"{file} is not a state dict of timm's {model}: {missing[0]} is missing"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        )


def _pretrained_config(model: str) -> Any:
    import timm

    structure(model)  # raises for an unknown name
    config = timm.get_pretrained_cfg(model)
    if config is None or not (config.hf_hub_id or config.url):
        raise WeightsError(f"timm has no pretrained weights for {model}; use `weights: random` or a file")
    return config


def _hub_place(config: Any) -> tuple[str, Sequence[str], str | None]:
    repo, _, revision = config.hf_hub_id.partition("@")
    return repo, (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES, revision or None


def _cached(config: Any) -> Path | None:
    return cached_on_hub(*_hub_place(config)) if config.hf_hub_id else cached_url(config.url)


def _fetched(config: Any) -> Path:
    if found := _cached(config):
        return found
    return fetch_from_hub(*_hub_place(config)) if config.hf_hub_id else fetch_url(config.url)
