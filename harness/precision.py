"""In which precision a network runs: fp32, or autocast to bf16 where the machine computes it in hardware."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]

FAST_ON_CPU = ("avx512_bf16", "amx_bf16", "bf16")
"""What a processor calls its bf16 products: AVX512-BF16, AMX, ARMv8.6."""


def resolve(asked: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """`auto` is bf16 where the device multiplies it in hardware, else fp32."""
    if asked != "auto":
        return asked
    return "bf16" if has_fast_bf16(device) else "fp32"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 products are computed by instructions made for them."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is not None:
        capabilities = ask()
        return any(capabilities.get(name, False) for name in FAST_ON_CPU)
    ask = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch before get_capabilities
    return bool(ask is not None and ask())


def whole_float32() -> None:
    """float32 products in float32, of this process: TF32 would cut statistics and fp32 networks to three digits."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Convolutions and products in bf16, normalisation in fp32; weights stay as they are."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
