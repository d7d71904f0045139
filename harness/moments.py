"""Streamed second moments on native grids: one G for every ridge cell of a backbone.

X_l is a layer's features on its own grid (times the window there, if there is one), U_l the operator that brings that
grid to the fitting grid. Over images

    G_ij = sum X_i' (U_i' U_j) X_j        c_i = sum X_i' U_i' y        m_i = sum X_i' U_i' 1

so no feature map is ever upsampled: U_i' U_j is a small separable matrix that carries the finer of the two maps onto
the coarser grid. A layer is a diagonal block, a set of layers a principal submatrix, and only the blocks that some
set needs are computed, of a diagonal block the lower triangle. Products over several images at once in float32, sums
in float64, one sum a fold.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from harness._band import mirror, square
from harness._positions import Positions, add_gaze_products, add_products, carry
from harness._probe import Consumer
from harness.normal_equations import NormalEquations
from harness.position import TERMS, terms, windowed
from harness.targets import target_map
from harness.types import Batch, LayerSpec, Size
from harness.wanted_ridges import WantedRidges

if TYPE_CHECKING:
    from jaxtyping import Float

K = TypeVar("K")

CELLS = 4800
"""Cells of the fitting grid that one product covers: 16 images of 15 x 20. Long enough for products at full speed
and for their float64 sums to cost little, short enough for float32."""
GAZE = "gaze"
"""What the features are multiplied with beside themselves: the constant 1 and every target."""


class Moments(Consumer):
    """Shared by all cells that fit from second moments; each says what it needs before the first batch."""

    def __init__(
        self, n_folds: int, dtype: torch.dtype = torch.float32, window: Float[Tensor, "wh ww"] | None = None
    ) -> None:
        self.n_folds, self.dtype, self.window = n_folds, dtype, window
        self._pairs: set[tuple[str, str]] = set()
        self._channels: dict[str, int] = {}
        self._targets: list[str] = []
        self._waiting: tuple[int, Size, Positions] | None = None
        self._blocks: dict[tuple[int, str, str], Tensor] = {}
        self._against: dict[tuple[int, str], Tensor] = {}
        self._totals: dict[int, Tensor] = {}
        self.ridges = WantedRidges()
        """What cells make of the complete moments, for others that want nearly the same."""

    def need(self, layers: Sequence[LayerSpec], target: str) -> None:
        """Keep every block among these layers (position terms and window count as some), and their products with it."""
        self._channels |= {layer.name: layer.channels for layer in layers}
        self._pairs |= {(a.name, b.name) for a in layers for b in layers if a.name <= b.name}
        if target not in self._targets:
            self._targets.append(target)

    def expected_bytes(self) -> int:
        """The float64 blocks of every fold, maps waiting and carried."""
        blocks = sum(self._channels[a] * self._channels[b] for a, b in self._pairs)
        maps = 2 * CELLS * (sum(self._channels.values()) + 1 + len(self._targets))
        return 8 * self.n_folds * blocks + self.dtype.itemsize * maps

    def update(self, batch: Batch) -> None:
        """Add a batch, split by fold."""
        for fold in sorted(set(batch.folds)):
            rows = [i for i, f in enumerate(batch.folds) if f == fold]
            whole = len(rows) == len(batch)
            self._add(fold, batch if whole else batch.take(rows))

    def sums(self) -> Sequence[MutableMapping[Any, Tensor]]:
        """Products of the layers with each other, with the targets, and of the targets; by fold."""
        self._multiply()
        return self._blocks, self._against, self._totals

    def state(self) -> dict[str, Any]:
        """The sums, and what waits: multiplied now it would be summed in another order."""
        waiting = None
        if self._waiting is not None:
            fold, grid, room = self._waiting
            waiting = {"fold": fold, "grid": grid, "room": room.state()}
        sums = {"blocks": self._blocks, "against": self._against, "totals": self._totals}
        return {"targets": self._targets, **sums, "waiting": waiting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`; raises ValueError for sums with other targets, which are told by their order."""
        if state["targets"] != self._targets:
            raise ValueError(f"moments of {', '.join(state['targets'])} cannot go on as of {', '.join(self._targets)}")
        self._blocks, self._against, self._totals = (state[name] for name in ("blocks", "against", "totals"))
        waiting = state["waiting"]
        self._waiting = waiting and (waiting["fold"], waiting["grid"], Positions.of_state(waiting["room"]))

    def end_pass(self) -> bool:
        """One pass is enough."""
        self._multiply()
        self._waiting = None
        return False

    @property
    def folds(self) -> list[int]:
        """The folds of which any image was seen."""
        return [fold for fold, total in sorted(self._totals.items()) if total[0, 0] > 0]

    def equations(self, layers: Sequence[str], targets: Sequence[str], folds: Sequence[int]) -> NormalEquations:
        """The normal equations of that layer set and those targets over some folds, in memory of their own."""
        self._multiply()
        rows = [1 + self._targets.index(target) for target in targets]
        against = torch.cat([_sum([self._against[fold, name] for fold in folds]) for name in layers])
        totals = _sum([self._totals[fold] for fold in folds])
        return NormalEquations(
            G=self._assemble(layers, folds),
            c=against[:, rows],
            m=against[:, 0],
            y=totals[rows, 0],
            yy=totals[rows, 1],
            n=totals[0, 0].item(),
            widths=tuple(self._channels[name] for name in layers),
        )

    def _add(self, fold: int, batch: Batch) -> None:
        """Put the images beside those of the same fold and sizes that wait, and multiply as often as the room fills."""
        maps = {name: self._map(batch, name) for name in self._channels}
        targets = [target_map(target, batch) for target in self._targets]
        gaze = torch.stack([torch.ones_like(targets[0]), *targets], dim=1)
        double = gaze.double().movedim(1, 0).flatten(1)
        _accumulate(self._totals, fold, torch.stack([double.sum(1), double.square().sum(1)], dim=1))
        maps[GAZE] = gaze
        start = 0
        while start < len(batch):
            waiting = self._room(fold, batch.grid, maps)
            n = min(waiting.room, len(batch) - start)
            waiting.add(maps, start, n)
            start += n

    def _room(self, fold: int, grid: Size, maps: Mapping[str, Tensor]) -> Positions:
        """Where the next image of these shapes belongs; what waits is multiplied first if it is full or differs."""
        sizes = {name: (x.shape[-2], x.shape[-1]) for name, x in maps.items()}
        if self._waiting is not None:
            its_fold, its_grid, waiting = self._waiting
            alike = its_grid == grid and waiting.sizes == sizes
            if alike and its_fold == fold and waiting.room:
                return waiting
            self._multiply()
            if alike:
                self._waiting = (fold, grid, waiting)
                return waiting
        self._waiting = None  # the old room is given back before new room is taken
        room = Positions(maps, max(1, CELLS // (grid[0] * grid[1])), self.dtype)
        self._waiting = (fold, grid, room)
        return room

    def _multiply(self) -> None:
        """Add the products of what waits to the sums."""
        if self._waiting is None or not self._waiting[2].filled:
            return
        fold, grid, waiting = self._waiting
        for size in set(waiting.sizes.values()):
            self._multiply_on(size, fold, grid, waiting)
        waiting.filled = 0

    def _multiply_on(self, size: Size, fold: int, grid: Size, waiting: Positions) -> None:
        """The products whose coarser grid is `size`."""
        carried: dict[str, Tensor] = {}

        def there(name: str) -> Tensor:
            if name not in carried:
                carried[name] = carry(waiting.map(name), size, grid)
            return carried[name]

        for a, b in sorted(self._pairs):
            coarse, fine = sorted((a, b), key=lambda name: (waiting.sizes[name][0] * waiting.sizes[name][1], name))
            if waiting.sizes[coarse] == size:
                here = waiting.map(coarse)
                first, second = (here, there(fine)) if coarse == a else (there(fine), here)
                total = _room_for(self._blocks, (fold, a, b), (len(first), len(second)), here.device)
                add_products(total, first, second, symmetric=a == b)
        for name in self._channels:
            if waiting.sizes[name] == size:
                here, gaze = waiting.map(name), there(GAZE)
                total = _room_for(self._against, (fold, name), (len(here), len(gaze)), here.device)
                add_gaze_products(total, here, gaze)

    def _map(self, batch: Batch, name: str) -> Tensor:
        if name in TERMS:
            return terms(name, batch, self.window).expand(len(batch), -1, -1, -1)
        return windowed(batch.features[name], self.window)

    def _assemble(self, layers: Sequence[str], folds: Sequence[int]) -> Float[Tensor, "p p"]:
        """The sum of some folds' blocks as one symmetric matrix."""
        widths = [self._channels[name] for name in layers]
        G = square(sum(widths), self._blocks[folds[0], layers[0], layers[0]].device)
        parts = [torch.split(stripe, widths, dim=1) for stripe in torch.split(G, widths)]
        for (i, a), (j, b) in product(enumerate(layers), repeat=2):
            if a <= b:
                parts[i][j].copy_(self._blocks[folds[0], a, b])
                for fold in folds[1:]:
                    parts[i][j].add_(self._blocks[fold, a, b])
                if a == b:
                    mirror(parts[i][j])
                else:
                    parts[j][i].copy_(parts[i][j].T)
        return G


def _accumulate(store: dict[int, Tensor], key: int, value: Tensor) -> None:
    store[key] = store[key] + value if key in store else value


def _room_for(store: dict[K, Tensor], key: K, shape: tuple[int, int], device: torch.device) -> Tensor:
    if key not in store:
        store[key] = torch.zeros(shape, dtype=torch.float64, device=device)
    return store[key]


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0)
