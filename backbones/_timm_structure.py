"""What a timm model's feature interface offers, found out on the meta device: no weights, no arithmetic."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from backbones._tensors import Tensors
from harness.errors import RecipeError
from harness.types import LayerSpec, Size

SIZE_OPTIONS: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""How families of models are told to take images of any size; most CNNs need not be told."""

REFUSALS = (TypeError, ValueError, RuntimeError, AssertionError, AttributeError, IndexError, KeyError)
"""How families of models say no to an option, to the feature interface or to an image size."""


@dataclass(frozen=True)
class Structure:
    """The layers of a timm model, how it is built, and which image sizes it takes."""

    layers: tuple[LayerSpec, ...]
    options: tuple[tuple[str, bool], ...]
    multiple_of: int = 1
    channels_last: bool = False
    through_intermediates: bool = False
    """Whether timm reads the features with `forward_intermediates` (ViTs), which can stop early."""


@lru_cache(maxsize=256)
def structure(model: str) -> Structure:
    """Raises RecipeError for an unknown model, one without a feature interface, or one tied to a single image size."""
    _check_known(model)
    failures: list[str] = []
    candidates = [found for options in SIZE_OPTIONS for found in _working(model, options, failures)]
    if candidates:
        return next((found for found, exact in candidates if exact), candidates[0][0])
    raise RecipeError(
        f"timm model {model!r} cannot be used: it has no feature interface or takes one image size only "
        f"({failures[-1]}); choose a model that takes images of any size"
    )


def build(model: str, of: Structure, tensors: Tensors | None = None, on: str = "cpu") -> nn.Module:
    """The feature network with every layer as an output; random where no tensors are given."""
    weights = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": tensors}} if tensors else {}
    with torch.device(on):
        every = tuple(range(len(of.layers)))
        net: nn.Module = _create(model, features_only=True, out_indices=every, **dict(of.options), **weights)
    for module in net.modules():  # timm would keep the tensors a second time
        (vars(module).get("pretrained_cfg") or {}).pop("state_dict", None)
    return net


@lru_cache(maxsize=16)
def known_keys(model: str) -> frozenset[str]:
    """The names in the model's state dict, without its classifier and batch-norm's step counters."""
    with torch.device("meta"):
        net = _create(model)
    heads = net.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    return frozenset(
        name
        for name in net.state_dict()
        if not name.startswith(tuple(f"{head}." for head in heads)) and not name.endswith("num_batches_tracked")
    )


def _working(model: str, options: dict[str, bool], failures: list[str]) -> Iterator[tuple[Structure, bool]]:
    """Structures that run at sizes other than the model's own, and whether their sizes are ceil(size / stride)."""
    try:
        found = _declared(model, options)
        net = build(model, found, on="meta").eval()
    except REFUSALS as error:  # does not know the option, or has no features
        failures.append(f"{type(error).__name__}: {error}")
        return
    for multiple in dict.fromkeys((1, max(layer.stride for layer in found.layers))):
        size = (225, 319) if multiple == 1 else (7 * multiple, 9 * multiple)
        try:
            with torch.inference_mode():
                shapes = [tuple(x.shape[1:]) for x in net(torch.empty(1, 3, *size, device="meta"))]
        except REFUSALS as error:
            failures.append(f"{type(error).__name__}: {error}")
            continue
        if found.channels_last:
            shapes = [(c, h, w) for h, w, c in shapes]
        yield replace(found, multiple_of=multiple), shapes == _expected(found, size)


def _expected(of: Structure, size: Size) -> list[tuple[int, ...]]:
    return [(layer.channels, -(-size[0] // layer.stride), -(-size[1] // layer.stride)) for layer in of.layers]


def _declared(model: str, options: dict[str, bool]) -> Structure:
    with torch.device("meta"):
        net = _create(model, features_only=True, **options)
    every = list(range(len(net.feature_info)))
    info = [net.feature_info[index] for index in every]
    names = _unique([re.sub(r"[^\w.]", "_", str(entry["module"])) for entry in info])
    layers = [
        LayerSpec(name, int(entry["num_chs"]), int(entry["reduction"])) for name, entry in zip(names, info, strict=True)
    ]
    return Structure(
        tuple(layers),
        tuple(options.items()),
        channels_last="NHWC" in str(getattr(net, "output_fmt", "")),
        through_intermediates=hasattr(getattr(net, "model", None), "forward_intermediates"),
    )


def _create(model: str, **options: Any) -> Any:
    import timm

    return timm.create_model(model, **options)


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique


def _check_known(model: str) -> None:
    import timm

    known: Any = {*timm.list_models(), *timm.list_models(pretrained=True)}
    if model in known:
        return
    near = difflib.get_close_matches(model, sorted(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
    raise RecipeError(f"timm has no model {model!r}; {hint}")
