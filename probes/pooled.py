"""The original study's probe: globally pooled features -> a whole map at once, by ridge or by gradient descent."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from harness import Consumer, Context, Probe, Trainer, added, probe
from harness.heads import MapHead
from harness.normal_equations import NormalEquations, add_up, cross_validate, solver_bytes
from harness.readout import MapReadout
from harness.types import Batch, LayerSpec, Size
from probes._gradient import GradientSettings, link, raw_units, shared_bank, training_info
from probes._moments import check_alphas, sweep_info
from probes.ridge import ALPHAS

LEAST_SQUARES = "mse"


@probe("pooled")
class Pooled(GradientSettings, Probe):
    """map = bias + W' gap(X): where one looks, from what is in the picture but not where it is."""

    solver: Literal["ridge", "sgd"] = "ridge"
    """ridge: closed form, one alpha for the whole map. sgd: mini-batches."""
    alphas: tuple[float, ...] = ALPHAS
    """Penalties tried by the ridge solver, in units of the number of images."""
    raster: tuple[int, int] = (15, 20)
    """Rows and columns of the map that is predicted, stretched over the stimulus."""
    standardise: bool = added(True)
    """Whether gradient descent sees standardised channels; ridge does, whatever is said here."""

    def __post_init__(self) -> None:
        """Raises ValueError for a loss where nothing descends on it."""
        super().__post_init__()
        check_alphas(self.alphas)
        if self.solver == "ridge" and self.loss != LEAST_SQUARES:
            raise ValueError(f"loss is of solver: sgd; ridge minimises squared errors, {self.loss} does nothing there")

    @property
    def label(self) -> str:
        """Names the solver."""
        return "pooled-ridge" if self.solver == "ridge" else f"pooled-sgd-{self.loss}"

    @property
    def revision(self) -> int:
        """2 of the ridge: features that hardly ever respond are not blown up to unit variance."""
        return 2 if self.solver == "ridge" else super().revision

    def passes(self) -> int:
        """One for the closed form."""
        return 1 if self.solver == "ridge" else 1 + self.epochs

    def trainer(self, context: Context) -> Trainer:
        """The trainer of the chosen solver."""
        return PooledRidgeTrainer(self, context) if self.solver == "ridge" else PooledSGDTrainer(self, context)


class PooledMoments(Consumer):
    """Second moments of pooled features (one sample an image) with every cell of the target raster, per fold."""

    def __init__(self, layers: tuple[LayerSpec, ...], raster: Size, n_folds: int) -> None:
        self.layers, self.raster, self.n_folds = tuple(layer.name for layer in layers), raster, n_folds
        self.widths = tuple(layer.channels for layer in layers)
        self.features = sum(self.widths)
        self._sums: dict[tuple[int, str], Tensor] = {}

    def expected_bytes(self) -> int:
        """The float64 matrices of every fold."""
        cells = self.raster[0] * self.raster[1]
        return 8 * self.n_folds * self.features * (self.features + cells)

    def update(self, batch: Batch) -> None:
        """Add a batch, split by fold."""
        pooled = torch.cat([batch.features[name].double().mean(dim=(2, 3)) for name in self.layers], dim=1)
        target = batch.target(self.raster).double().flatten(1)
        folds = torch.tensor(batch.folds, device=pooled.device)
        for fold in sorted(set(batch.folds)):
            self._add(fold, pooled[folds == fold], target[folds == fold])

    def sums(self) -> Sequence[MutableMapping[Any, Tensor]]:
        """Products and sums of features and targets, by fold."""
        return (self._sums,)

    @property
    def folds(self) -> list[int]:
        """The folds of which any image was seen."""
        return sorted(fold for (fold, name), n in self._sums.items() if name == "n" and n > 0)

    def equations(self, folds: Sequence[int]) -> NormalEquations:
        """The normal equations over some folds, in memory of their own."""
        return add_up([self._equations(fold) for fold in folds])

    def _equations(self, fold: int) -> NormalEquations:
        G, c, m, y, yy, n = (self._sums[fold, name] for name in ("G", "c", "m", "y", "yy", "n"))
        return NormalEquations(G, c, m, y, yy, n.item(), self.widths)

    def _add(self, fold: int, x: Tensor, y: Tensor) -> None:
        if (fold, "G") not in self._sums:
            self._sums[fold, "G"] = x.new_zeros(x.shape[1], x.shape[1])
            self._sums[fold, "c"] = x.new_zeros(x.shape[1], y.shape[1])
        self._sums[fold, "G"].addmm_(x.T, x)
        self._sums[fold, "c"].addmm_(x.T, y)
        small = {"m": x.sum(0), "y": y.sum(0), "yy": y.square().sum(0), "n": y.new_tensor(len(x))}
        for name, more in small.items():
            self._sums[fold, name] = self._sums[fold, name] + more if (fold, name) in self._sums else more


class PooledRidgeTrainer(Trainer):
    """Solves for all cells of the raster at once."""

    def __init__(self, settings: Pooled, context: Context) -> None:
        self.settings, self.context = settings, context
        key = ("pooled moments", context.layer_names, settings.raster)
        self.moments = context.shared(key, lambda: PooledMoments(context.layers, settings.raster, context.n_folds))

    def solving_bytes(self) -> int:
        """The system of all its channels, with every cell of the raster as a target."""
        cells = self.settings.raster[0] * self.settings.raster[1]
        return solver_bytes(self.moments.features, len(self.settings.alphas), cells)

    def readout(self) -> MapReadout:
        """The weights of the chosen alpha, cut into layers."""
        best = cross_validate(self.moments.equations, self.moments.folds, self.settings.alphas)
        raster = self.settings.raster
        parts = torch.split(best.solution.weights.float(), [layer.channels for layer in self.context.layers])
        weights = {name: part.reshape(-1, *raster) for name, part in zip(self.context.layer_names, parts, strict=True)}
        return MapReadout(best.solution.bias.float().reshape(raster), weights, info=sweep_info(best))


class PooledSGDTrainer(Trainer):
    """A map head in the backbone's bank."""

    def __init__(self, settings: Pooled, context: Context) -> None:
        self.settings = settings
        self.bank = shared_bank(context)
        head = MapHead(context.layers, settings.raster, settings.standardise)
        self.run = self.bank.add_map(head, settings.training())

    def readout(self) -> MapReadout:
        """The head in the features' own units."""
        weights, bias = raw_units(self.bank, self.run)
        return MapReadout(bias.float(), weights, link=link(self.settings), info=training_info(self.run))
