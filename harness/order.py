"""In which order a pass meets the images: seeded, in blocks of one size and one fold, each process its own share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.distributed import is_mine
from harness.types import Size

BLOCK = 32
"""Images of one size and one fold that stay together when an epoch is shuffled; no batch is larger."""


class Place(NamedTuple):
    """An image in a pass."""

    turn: int
    """When it comes, counted over all processes."""
    row: int
    """Which image of the split it is."""


def blocks(
    rows: Sequence[int], size_of: Callable[[int], Size], fold_of: Sequence[int], seed: int, epoch: int | None
) -> list[list[Place]]:
    """All images of a pass. The order depends on seed and epoch only; `epoch=None` keeps the given order as far as
    sizes allow, and ignores folds."""
    order = list(rows)
    if epoch is not None:
        random.Random(f"{seed}/{epoch}").shuffle(order)
    alike: dict[tuple[Size, int], list[int]] = {}
    for row in order:
        alike.setdefault((size_of(row), fold_of[row] if epoch is not None else 0), []).append(row)
    if epoch is None:
        found = list(alike.values())
    else:
        found = [same[i : i + BLOCK] for same in alike.values() for i in range(0, len(same), BLOCK)]
        random.Random(f"{seed}/{epoch}/blocks").shuffle(found)
    turn, placed = 0, []
    for block in found:
        placed.append([Place(turn + i, row) for i, row in enumerate(block)])
        turn += len(block)
    return placed


def my_batches(blocks: Sequence[Sequence[Place]], batch_size: Callable[[int], int]) -> list[list[Place]]:
    """This process' images, at most `batch_size(row)` of a block together."""
    batches = []
    for block in blocks:
        mine = [place for place in block if is_mine(place.row)]
        step = min(BLOCK, batch_size(mine[0].row)) if mine else BLOCK
        batches += [mine[i : i + step] for i in range(0, len(mine), step)]
    return batches


def assign_folds(ids: Sequence[int], n_folds: int, seed: int) -> list[int]:
    """A balanced fold for each image, by a seeded shuffle of the ids; order of the list does not matter."""
    shuffled = sorted(ids)
    random.Random(f"{seed}/folds").shuffle(shuffled)
    fold_of = {id_: rank % n_folds for rank, id_ in enumerate(shuffled)}
    return [fold_of[id_] for id_ in ids]
