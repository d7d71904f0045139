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
    """The features in that precision, contiguous; RecipeError where a finite value would become infinite."""
    kept = {name: x.detach().to(DTYPES[precision]).contiguous() for name, x in features.items()}
    if precision == "fp16" and kept:
        # one answer for all layers: each would be a wait for the device
        lost = torch.stack([(kept[name].isinf() & x.isfinite()).any() for name, x in features.items()]).tolist()
        for name, is_lost in zip(kept, lost, strict=True):
            if is_lost:
                _refuse(name, features[name])
    return kept


def _refuse(layer: str, x: Tensor) -> None:
    largest = float(x[x.isfinite()].abs().max())
    limit = torch.finfo(torch.float16).max
    raise RecipeError(
        f"cache.precision: layer {layer!r} has features up to {largest:.3g}, fp16 ends at {limit:.0f};"
        " use bf16 (same memory, fewer digits) or fp32"
    )
