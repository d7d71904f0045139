"""Streamed second moments on native grids: one G for every ridge cell of a backbone.

X_l is a layer's features on its own grid, U_l the operator that brings that grid to the fitting grid. Over images

    G_ij = sum X_i' (U_i' U_j) X_j        c_i = sum X_i' U_i' y        m_i = sum X_i' U_i' 1

so no feature map is ever upsampled: U_i' U_j is a small separable matrix that carries the finer of the two maps onto
the coarser grid. A layer is a diagonal block, a set of layers a principal submatrix, and only the blocks that some
set needs are kept. Products in the features' precision, sums in float64, one sum a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness._probe import Consumer
from harness.grid import axis_operator
from harness.normal_equations import NormalEquations
from harness.readout import POSITION, position_terms
from harness.types import Batch, LayerSpec, Size

if TYPE_CHECKING:
    from jaxtyping import Float

Target = Callable[[Batch], Tensor]
"""A batch's target on its fitting grid, (b, gh, gw)."""


def density_target(batch: Batch) -> Float[Tensor, "b gh gw"]:
    """The density, mean 1 an image."""
    return batch.target()


def standardised_target(batch: Batch) -> Float[Tensor, "b gh gw"]:
    """The density with mean 0 and standard deviation 1 an image: what CC rewards."""
    density = batch.target()
    centred = density - density.mean(dim=(1, 2), keepdim=True)
    deviation = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return centred / torch.where(deviation > 0, deviation, 1)


SOLVER_COPIES = 4
"""Matrices of the full system alive at once: the sum of all folds, one difference, the correlation, its factor."""

TARGETS: dict[str, Target] = {"density": density_target, "standardised": standardised_target}


class Moments(Consumer):
    """Shared by all cells that fit from second moments; each says what it needs before the first batch."""

    def __init__(self, n_folds: int, dtype: torch.dtype = torch.float32) -> None:
        self.n_folds, self.dtype = n_folds, dtype
        self._pairs: set[tuple[str, str]] = set()
        self._channels: dict[str, int] = {}
        self._largest = 0
        self._targets: set[str] = set()
        self._blocks: dict[tuple[int, str, str], Tensor] = {}
        self._sums: dict[tuple[int, str], Tensor] = {}
        self._cross: dict[tuple[int, str, str], Tensor] = {}
        self._target_sums: dict[tuple[int, str], Tensor] = {}
        self._n: dict[int, int] = dict.fromkeys(range(n_folds), 0)

    def need(self, layers: Sequence[LayerSpec], target: str) -> None:
        """Keep every block among these layers (POSITION_TERMS counts as one), and their products with that target."""
        self._channels |= {layer.name: layer.channels for layer in layers}
        self._pairs |= {(a.name, b.name) for a in layers for b in layers if a.name <= b.name}
        self._largest = max(self._largest, sum(layer.channels for layer in layers))
        self._targets.add(target)

    def expected_bytes(self) -> int:
        """The float64 blocks of every fold, and what the largest solve holds beside them."""
        blocks = sum(self._channels[a] * self._channels[b] for a, b in self._pairs)
        return 8 * (self.n_folds * blocks + SOLVER_COPIES * self._largest**2)

    def update(self, batch: Batch) -> None:
        """Add a batch, split by fold."""
        for fold in sorted(set(batch.folds)):
            rows = [i for i, f in enumerate(batch.folds) if f == fold]
            whole = len(rows) == len(batch)
            self._add(fold, batch if whole else batch.take(rows))

    def equations(self, layers: Sequence[str], target: str) -> list[NormalEquations]:
        """The normal equations of that layer set, one a fold."""
        return [self._equations(fold, layers, target) for fold in range(self.n_folds) if self._n[fold]]

    def _add(self, fold: int, batch: Batch) -> None:
        maps = {name: self._map(batch, name) for name in {a for pair in self._pairs for a in pair}}
        carried: dict[tuple[str, Size], Tensor] = {}
        for a, b in sorted(self._pairs):
            coarse, fine = (a, b) if _cells(maps[a]) <= _cells(maps[b]) else (b, a)
            key = (fine, _size(maps[coarse]))
            if key not in carried:
                carried[key] = _rows_by_channel(_carry(maps[fine], key[1], batch.grid))
            block = _rows_by_channel(maps[coarse]).T @ carried[key]
            _accumulate(self._blocks, (fold, a, b), block if coarse == a else block.T)
        ones = torch.ones(len(batch), 1, *batch.grid, dtype=self.dtype, device=batch.device)
        for name, x in maps.items():
            flat = _rows_by_channel(x)
            _accumulate(self._sums, (fold, name), (flat.T @ _adjoint(ones, _size(x)))[:, 0])
            for target in self._targets:
                y = TARGETS[target](batch).to(self.dtype)[:, None]
                _accumulate(self._cross, (fold, name, target), flat.T @ _adjoint(y, _size(x)))
        self._add_targets(fold, batch)
        self._n[fold] += len(batch) * batch.grid[0] * batch.grid[1]

    def _add_targets(self, fold: int, batch: Batch) -> None:
        for target in self._targets:
            y = TARGETS[target](batch).double()
            _accumulate(self._target_sums, (fold, target), torch.stack([y.sum(), y.square().sum()]))

    def _map(self, batch: Batch, name: str) -> Tensor:
        if name == POSITION:
            return position_terms(batch.grid, batch.device)[None].expand(len(batch), -1, -1, -1).to(self.dtype)
        return batch.features[name].to(self.dtype)

    def _equations(self, fold: int, layers: Sequence[str], target: str) -> NormalEquations:
        def block(a: str, b: str) -> Tensor:
            return self._blocks[fold, a, b] if a <= b else self._blocks[fold, b, a].T

        y, yy = self._target_sums[fold, target]
        return NormalEquations(
            G=torch.cat([torch.cat([block(a, b) for b in layers], dim=1) for a in layers]),
            c=torch.cat([self._cross[fold, a, target] for a in layers]),
            m=torch.cat([self._sums[fold, a] for a in layers]),
            y=y[None],
            yy=yy[None],
            n=float(self._n[fold]),
        )


def _accumulate(store: dict[Any, Tensor], key: object, value: Tensor) -> None:
    if key in store:
        store[key] += value
    else:
        store[key] = value.double()


def _size(x: Tensor) -> Size:
    return x.shape[-2], x.shape[-1]


def _cells(x: Tensor) -> int:
    return x.shape[-2] * x.shape[-1]


def _rows_by_channel(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "bhw c"]:
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _carry(fine: Float[Tensor, "b c h w"], coarse: Size, grid: Size) -> Float[Tensor, "b c ch cw"]:
    """U_coarse' U_fine X_fine, axis by axis."""
    rows, cols = (_normal_operator(coarse[i], fine.shape[-2 + i], grid[i], fine) for i in (0, 1))
    if cols is not None:
        fine = fine @ cols.T
    return fine if rows is None else rows @ fine


def _normal_operator(coarse: int, fine: int, grid: int, like: Tensor) -> Tensor | None:
    if coarse == fine == grid:
        return None
    return (axis_operator(coarse, grid).T @ axis_operator(fine, grid)).to(like.device, like.dtype)


def _adjoint(y: Float[Tensor, "b 1 gh gw"], size: Size) -> Float[Tensor, "bhw 1"]:
    """U' y: what a layer's own grid sees of the target."""
    rows, cols = (axis_operator(size[i], y.shape[-2 + i]).to(y.device, y.dtype) for i in (0, 1))
    return _rows_by_channel(rows.T @ y @ cols)
