"""In which precision features are kept, and how many bytes that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from harness.errors import RecipeError
from harness.types import LayerSpec, Size

Precision = Literal["fp32", "fp16", "bf16"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LARGEST_FP16 = torch.finfo(torch.float16).max


def itemsize(precision: Precision) -> int:
    """Bytes of one kept value."""
    return DTYPES[precision].itemsize


def feature_bytes(layers: Sequence[LayerSpec], input_size: Size, grid: Size, itemsize: int = 4) -> int:
    """Bytes of one image's features, no finer than the fitting grid; `itemsize` is one value's."""
    total = 0
    for layer in layers:
        cells = min(-(-input_size[0] // layer.stride), grid[0]) * min(-(-input_size[1] // layer.stride), grid[1])
        total += itemsize * layer.channels * cells
    return total


def rounded(features: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """The features in that precision; RecipeError where a finite value would become infinite."""
    kept = {name: x.detach().to(DTYPES[precision]) for name, x in features.items()}
    if precision == "fp16" and kept:
        # one answer for all layers: each would be a wait for the device
        extremes = torch.stack([torch.stack(torch.aminmax(x)) for x in features.values()]).abs().amax(1).tolist()
        for name, extreme in zip(kept, extremes, strict=True):
            if not extreme <= LARGEST_FP16:
                _refuse_if_lost(name, features[name], kept[name])
    return kept


def _refuse_if_lost(layer: str, x: Tensor, kept: Tensor) -> None:
    lost = x[kept.isinf() & x.isfinite()]
    if lost.numel():
        raise RecipeError(
            f"cache.precision: layer {layer!r} has features up to {float(lost.abs().max()):.3g}, fp16 ends at"
            f" {LARGEST_FP16:.0f}; use bf16 (same memory, fewer digits) or fp32"
        )
