"""Several processes as one run: which images are whose, sums over everybody, one error ends all.

Started by torchrun (or by anything that sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT). With a single
process every function here is the identity, so nothing else asks how many there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from harness.errors import ProcessesError

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

PATIENCE = timedelta(minutes=60)
"""How long a process waits for the others (the main one may be solving or logging) before it gives up."""
SMALL = 2**20
"""Tensors below so many bytes travel together."""


def asked_for() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def processes() -> Iterator[None]:
    """Meet the other processes, if there are any, and part when the run is over."""
    if not asked_for():
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise ProcessesError(
            f"the processes of this run did not find each other: {error}; see torchrun --help"
        ) from error
    try:
        yield
        dist.barrier()  # who leaves first would pull the rug from under messages that are still on their way
    except RuntimeError as error:
        if not is_loss_of_a_peer(error):
            raise
        raise ProcessesError("another process of this run has ended; its own error says why") from error
    finally:
        # after an error the others may be gone: parting must not wait for them
        dist.destroy_process_group()


def is_loss_of_a_peer(error: Exception) -> bool:
    """What gloo and NCCL say when they are left alone."""
    said = str(error) if isinstance(error, RuntimeError) and size() > 1 else ""
    return isinstance(error, dist.DistError) or "gloo" in said.lower() or "NCCL" in said or "closed by peer" in said


def rank() -> int:
    """Which of the processes this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """Which of this machine's processes this is: the index of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if dist.is_initialized() else 0


def local_size() -> int:
    """How many processes share this machine and its memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that writes results."""
    return rank() == 0


def is_mine(row: int) -> bool:
    """Whether this process reads image `row` of a split: the same one in every pass, so that its cache can keep it."""
    return row % size() == rank()


def gather(thing: T) -> list[T]:
    """What every process has, in order of rank, on every process."""
    if size() == 1:
        return [thing]
    found: list[T | None] = [None] * size()
    dist.all_gather_object(found, thing)
    return found  # type: ignore[return-value]


def gather_to_main(thing: T) -> list[T] | None:
    """What every process has, in order of rank, on the main one; None on the others."""
    if size() == 1:
        return [thing]
    found: list[T | None] | None = [None] * size() if is_main() else None
    dist.gather_object(thing, found)
    return found  # type: ignore[return-value]


def anybody(*facts: bool) -> list[bool]:
    """Whether each of them holds in any process."""
    if size() == 1:
        return list(facts)
    found = torch.tensor(facts, dtype=torch.int32)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return [bool(fact) for fact in found.tolist()]


def agree(found: MutableMapping[K, str]) -> None:
    """What one process knows (cell -> its error), all know; where several do, the first one's words count."""
    for theirs in reversed(gather(dict(found))):
        found.update(theirs)


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in place; all must bring the same shapes in the same order."""
    if size() == 1:
        return
    together: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.numel() * tensor.element_size() >= SMALL and tensor.is_contiguous():
            dist.all_reduce(tensor)
        else:
            together.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for small in together.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in small])
        dist.all_reduce(flat)
        for tensor, part in zip(small, torch.split(flat, [t.numel() for t in small]), strict=True):
            tensor.copy_(part.view_as(tensor))


def add_up_mappings(mappings: Sequence[MutableMapping[K, Tensor]], device: torch.device) -> None:
    """The same for mappings of tensors; a key that this process lacks (it saw no such image) counts as zeros."""
    if size() == 1:
        return
    for mapping, shapes in zip(mappings, _all_shapes(mappings), strict=True):
        for key, (shape, dtype) in shapes.items():
            if key not in mapping:
                mapping[key] = torch.zeros(shape, dtype=dtype, device=device)
        add_up([mapping[key] for key in shapes])


def _all_shapes(mappings: Sequence[MutableMapping[K, Tensor]]) -> list[dict[K, tuple[torch.Size, torch.dtype]]]:
    """For each mapping the shapes of the keys that any process has, in one order."""
    everybody = gather([{key: (tensor.shape, tensor.dtype) for key, tensor in one.items()} for one in mappings])
    merged: list[dict[K, tuple[torch.Size, torch.dtype]]] = []
    for of_mapping in zip(*everybody, strict=True):
        union = {key: shape for of_rank in of_mapping for key, shape in of_rank.items()}
        merged.append(dict(sorted(union.items(), key=lambda item: repr(item[0]))))
    return merged


def main_only(do: Callable[[], None]) -> None:
    """The main process does it; where it raises, all raise the same."""
    error = None
    if is_main():
        try:
            do()
        except Exception as caught:
            error = caught
    if (theirs := gather(error)[0]) is not None:
        raise theirs


def main_first(do: Callable[[], T]) -> T:
    """Each machine's first process does it before the others: whoever comes later finds what was fetched or made.

    Where one raises, all raise the same, so that nobody waits for the lost.
    """
    if size() == 1:
        return do()
    result, error = None, None
    for turn in (True, False):
        if (local_rank() == 0) is turn:
            try:
                result = do()
            except Exception as caught:
                error = caught
        failed = [other for other in gather(error) if other is not None]
        if failed:
            raise failed[0]
    return result  # type: ignore[return-value]
