"""What a recipe leaves to the machine, decided: device, precision, batch size, worker processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from harness.distributed import local_rank, local_size
from harness.errors import RecipeError
from harness.precision import resolve, whole_float32
from harness.stream import StreamSettings

if TYPE_CHECKING:
    from harness.recipe import Recipe

GPU_WORKERS = 8
"""So many processes that read files keep up with a fast GPU."""


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; of several processes on a machine each takes its own GPU.

    Raises RecipeError for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device("cuda", local_rank()) if name == "cuda" else torch.device(name)
        if device.type == "cuda":
            torch.cuda.set_device(device)
            whole_float32()
        torch.empty(1, device=device)
    except Exception as error:
        raise RecipeError(f"device: {name!r} cannot be used here ({error}); try auto or cpu") from error
    return device


def settled(recipe: Recipe, device: torch.device) -> Recipe:
    """The recipe with what can change numbers decided: its precision."""
    return recipe.model_copy(update={"precision": resolve(recipe.precision, device)})


def stream_settings(recipe: Recipe, reader: object, device: torch.device, *, held_out: bool = False) -> StreamSettings:
    """The stream's part of a recipe, decided for the device; held-out images may be seen at several scales."""
    return StreamSettings(
        scale=recipe.input.scale,
        size=recipe.input.size,
        scales=recipe.input.test_scales if held_out else (1.0,),
        grid=recipe.grid,
        folds=recipe.folds,
        seed=recipe.seed,
        batch_size=None if recipe.batch_size == "auto" else recipe.batch_size,
        precision=resolve(recipe.precision, device),
        workers=_workers(device) if recipe.workers == "auto" else recipe.workers,
        compile=recipe.compile,
        on_bad=getattr(reader, "on_bad", "error"),
    )


def _workers(device: torch.device) -> int:
    """One keeps a CPU's network fed; a GPU's needs as many as there are cores for."""
    if device.type == "cpu":
        return 1
    return min(GPU_WORKERS, max(1, (os.cpu_count() or 2) // local_size() - 1))
