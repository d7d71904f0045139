"""What a recipe leaves to the machine: device, precision, batch size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backbones.resnet50 import LAYERS
from harness import precision
from harness.batching import batch_size_for, forward_bytes
from harness.errors import RecipeError
from harness.machine import choose_device, settled, stream_settings
from harness.order import BLOCK
from harness.recipe import parse_recipe

CPU = torch.device("cpu")
STAGES = tuple(layer for layer in LAYERS if "." not in layer.name)


def recipe(**changes: object) -> object:
    return parse_recipe({"name": "x", "dataset": "demo", "probes": ["centre"], **changes})


@pytest.mark.parametrize("fast", [True, False])
def test_auto_precision_goes_by_the_hardware(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    capabilities = {"avx512_bf16": fast, "amx_bf16": False, "avx2": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    expected = "bf16" if fast else "fp32"
    assert precision.resolve("auto", CPU) == expected
    assert precision.resolve("fp32", CPU) == "fp32"
    assert settled(recipe(), CPU).precision == expected
    assert stream_settings(recipe(), None, CPU).precision == expected
    assert stream_settings(recipe(precision="bf16"), None, CPU).precision == "bf16"


def test_batch_size_is_the_recipes_or_none() -> None:
    assert stream_settings(recipe(), None, CPU).batch_size is None
    assert stream_settings(recipe(batch_size=3), None, CPU).batch_size == 3
    assert stream_settings(recipe(workers=0), None, CPU).workers == 0
    with pytest.raises(RecipeError, match="batch_size"):
        recipe(batch_size="many")


@given(st.integers(16, 2000), st.integers(16, 2000), st.integers(0, 2**37))
def test_batch_size_fits_into_free_memory(height: int, width: int, free: int) -> None:
    size = batch_size_for((height, width), STAGES, torch.device("cuda"), "fp32", free)
    assert 1 <= size <= BLOCK
    if size > 1:
        assert size * forward_bytes((height, width), STAGES) <= free
    assert 1 <= batch_size_for((height, width), STAGES, CPU) <= BLOCK


def test_devices() -> None:
    assert choose_device("cpu") == CPU
    with pytest.raises(RecipeError, match="device: 'toaster'"):
        choose_device("toaster")


def test_float32_means_float32() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high")
        precision.whole_float32()
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
