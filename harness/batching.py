"""How many images go through a network at once where nobody says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from harness.order import BLOCK

if TYPE_CHECKING:
    from harness.precision import Precision
    from harness.types import LayerSpec, Size

PIXELS_A_THREAD = 480 * 640
"""On a CPU larger batches are no faster: 1, 2, 4 and 8 images of 480x640 were the same within a few percent."""
LEAST_PIXELS = 2 * 480 * 640
LAYERS_ALIVE = 4
"""A forward pass holds about so many of its largest feature map at once: input, two inside a block, output."""
SHARE = 0.5
"""Of the free memory of a GPU: the rest is for statistics, heads and what libraries ask for."""


def batch_size_for(
    input_size: Size,
    layers: Sequence[LayerSpec],
    device: torch.device,
    precision: Precision = "fp32",
    free: int | None = None,
) -> int:
    """Images of that network input at once, 1..BLOCK; `free` is the device's free memory, asked for if not given."""
    pixels = max(1, input_size[0] * input_size[1])
    if device.type == "cpu":
        return min(BLOCK, max(1, max(LEAST_PIXELS, PIXELS_A_THREAD * torch.get_num_threads()) // pixels))
    if free is None:
        if device.type != "cuda":
            return 8
        # what torch has taken from the driver and holds empty is free too
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + held
    return min(BLOCK, max(1, int(SHARE * free / max(1, forward_bytes(input_size, layers, precision)))))


def forward_bytes(input_size: Size, layers: Sequence[LayerSpec], precision: Precision = "fp32") -> int:
    """Memory of one image on its way through the network: the layers kept at native size, and what is alive inside."""
    itemsize = 2 if precision == "bf16" else 4
    maps = [
        itemsize * layer.channels * -(-input_size[0] // layer.stride) * -(-input_size[1] // layer.stride)
        for layer in layers
    ]
    pixels = 3 * input_size[0] * input_size[1]
    return sum(maps) + LAYERS_ALIVE * max(maps, default=0) + pixels * (1 + 3 * 4)
