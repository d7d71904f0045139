"""Checkpoints as plain named tensors: reading them from files, telling them apart, seeding random ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from harness.errors import WeightsError

Tensors = dict[str, Tensor]
NESTED_UNDER = ("state_dict", "model")


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the tensors sorted by name: name, dtype, shape, bytes."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name} {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """A checkpoint's tensors, cleaned, and its metadata; runs no code from the file. Raises WeightsError."""
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}; correct the recipe's `weights`")
    try:
        stored, metadata = _read_safetensors(path) if path.suffix == ".safetensors" else (_read_torch(path), {})
    except WeightsError:
        raise
    except UnpicklingError as error:
        advice = "save its state_dict alone (torch.save(net.state_dict(), ...)) or convert it to .safetensors"
        raise WeightsError(f"{path} holds more than tensors and is not opened: {advice}") from error
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise WeightsError(f"{path} cannot be read as weights: {type(error).__name__}: {error}") from error
    return cleaned(_unwrapped(stored, path)), metadata


def cleaned(tensors: Mapping[str, Tensor]) -> Tensors:
    """Without a `module.` prefix and batch-norm's step counters (no number depends on them), floats as float32."""
    prefix = "module." if tensors and all(name.startswith("module.") for name in tensors) else ""
    return {
        name.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's CPU generator seeded inside the block, and as it was after it."""
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed, which would seed the accelerators' generators too
        torch.default_generator.manual_seed(seed)
        yield


def _read_safetensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def _read_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _unwrapped(stored: Any, path: Path) -> Mapping[str, Tensor]:
    for key in NESTED_UNDER:
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    if not isinstance(stored, Mapping) or not stored:
        raise WeightsError(f"{path} holds no state dict but {type(stored).__name__}")
    strange = [name for name, value in stored.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if strange:
        nested = " or ".join(repr(key) for key in NESTED_UNDER)
        raise WeightsError(
            f"{path}: {strange[0]!r} is no tensor; looked for a state dict at the top and under {nested}"
        )
    return stored
