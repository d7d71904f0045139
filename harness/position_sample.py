"""A seeded sample of positions of the training images, held in memory: for fits that need all samples at once."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.grid import resize
from harness.types import Batch, LayerSpec

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray


class Drawn(NamedTuple):
    """The sample, ordered by image id."""

    features: NDArray[np.float32]
    """(n, c): all layers at that position of the fitting grid, shallow to deep."""
    target: NDArray[np.float32]
    """(n,)"""
    groups: NDArray[np.int64]
    """(n,): the image id of each."""


class PositionSample:
    """The same number of positions from every image of a pass, without replacement, uniform over the fitting grid.

    `positions` is shared out among the images before the first is seen (where there are more images than positions, a
    seeded choice of them gets one each), so every image has its own slots in tensors of a fixed size: adding up the
    tensors of several processes, each of which has filled other slots, joins their samples. An image with fewer cells
    than its share gives all it has. Memory: at most positions x (4 c + 13) bytes, and 4 c more while it is handed over.
    """

    def __init__(self, layers: Sequence[LayerSpec], n_images: int, positions: int, seed: int) -> None:
        self.layers, self.positions, self.seed = tuple(layer.name for layer in layers), positions, seed
        self.channels = sum(layer.channels for layer in layers)
        self._share, self._extra = divmod(positions, max(n_images, 1))
        self._rank = np.random.default_rng(seed).permutation(n_images)
        self._seen = 0
        self._tensors: dict[str, Tensor] = {}

    def held_bytes(self) -> int:
        """Of the slots."""
        return self.positions * (4 * self.channels + 4 + 8 + 1)

    def handover_bytes(self) -> int:
        """Of the copy that `draw` makes."""
        return 4 * self.positions * self.channels

    def tensors(self) -> MutableMapping[str, Tensor]:
        """The slots, zero where no image has filled them."""
        if not self._tensors:
            self._tensors = {
                "features": torch.zeros(self.positions, self.channels),
                "target": torch.zeros(self.positions),
                "image": torch.zeros(self.positions, dtype=torch.int64),
                "filled": torch.zeros(self.positions, dtype=torch.uint8),
            }
        return self._tensors

    def add(self, batch: Batch, target: Float[Tensor, "b gh gw"]) -> None:
        """Draw from every image of a batch; `target` is on the batch's fitting grid."""
        turns = batch.turns or range(self._seen, self._seen + len(batch))
        self._seen += len(batch)
        for index, turn in enumerate(turns):
            rank = int(self._rank[turn])
            share = self._share + (rank < self._extra)
            if share:
                self._fill(rank * self._share + min(rank, self._extra), share, batch, index, target[index])

    def draw(self) -> Drawn:
        """Everything sampled so far; its order depends on nothing but the image ids and the seed."""
        image = self.tensors()["image"].numpy()
        slots = np.flatnonzero(self.tensors()["filled"].numpy())
        slots = slots[np.argsort(image[slots], kind="stable")]
        return Drawn(self._tensors["features"].numpy()[slots], self._tensors["target"].numpy()[slots], image[slots])

    def clear(self) -> None:
        """Give the slots' memory back."""
        self._tensors = {}

    def _fill(self, start: int, share: int, batch: Batch, index: int, target: Float[Tensor, "gh gw"]) -> None:
        cells = self._cells(batch.ids[index], batch.grid[0] * batch.grid[1], share)
        chosen = torch.from_numpy(cells).to(batch.device)
        slots, tensors = slice(start, start + len(cells)), self.tensors()
        maps = [resize(batch.features[name][index].float(), batch.grid).flatten(1) for name in self.layers]
        tensors["features"][slots] = torch.cat([x.index_select(1, chosen) for x in maps]).T.cpu()
        tensors["target"][slots] = target.flatten().index_select(0, chosen).float().cpu()
        tensors["image"][slots] = batch.ids[index]
        tensors["filled"][slots] = 1

    def _cells(self, image: int, cells: int, share: int) -> NDArray[np.int64]:
        """Depends on the seed and the image only."""
        digest = hashlib.sha256(f"{self.seed}/{image}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(cells)[:share]
