"""The original study's probe: globally pooled features -> a whole map at once, by ridge or by gradient descent."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from harness import Consumer, Context, Probe, Trainer, probe
from harness.heads import MapHead
from harness.moments import SOLVER_COPIES
from harness.normal_equations import NormalEquations, cross_validate
from harness.readout import MapReadout
from harness.types import Batch, LayerSpec, Size
from probes._gradient import GradientSettings, raw_units, shared_bank, training_info
from probes.ridge import ALPHAS, sweep_info


@probe("pooled")
class Pooled(GradientSettings, Probe):
    """map = bias + W' gap(X): where one looks, from what is in the picture but not where it is."""

    solver: Literal["ridge", "sgd"] = "ridge"
    """ridge: closed form, one alpha for the whole map. sgd: mini-batches."""
    alphas: tuple[float, ...] = ALPHAS
    """Penalties tried by the ridge solver, in units of the number of images."""
    raster: tuple[int, int] = (15, 20)
    """Rows and columns of the map that is predicted, stretched over the stimulus."""

    @property
    def label(self) -> str:
        """Names the solver."""
        return "pooled-ridge" if self.solver == "ridge" else f"pooled-sgd-{self.loss}"

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
        self.features = sum(layer.channels for layer in layers)
        self._folds: dict[int, NormalEquations] = {}

    def expected_bytes(self) -> int:
        """The float64 matrices of every fold, and a solve's copies."""
        cells = self.raster[0] * self.raster[1]
        return 8 * (self.n_folds + SOLVER_COPIES) * self.features * (self.features + cells)

    def update(self, batch: Batch) -> None:
        """Add a batch, split by fold."""
        pooled = torch.cat([batch.features[name].double().mean(dim=(2, 3)) for name in self.layers], dim=1)
        target = batch.target(self.raster).double().flatten(1)
        folds = torch.tensor(batch.folds, device=pooled.device)
        for fold in sorted(set(batch.folds)):
            chosen = folds == fold
            added = _moments(pooled[chosen], target[chosen])
            self._folds[fold] = self._folds[fold] + added if fold in self._folds else added

    def equations(self) -> list[NormalEquations]:
        """The normal equations, one a fold."""
        return [self._folds[fold] for fold in sorted(self._folds)]


def _moments(x: Tensor, y: Tensor) -> NormalEquations:
    return NormalEquations(x.T @ x, x.T @ y, x.sum(0), y.sum(0), y.square().sum(0), float(len(x)))


class PooledRidgeTrainer(Trainer):
    """Solves for all cells of the raster at once."""

    def __init__(self, settings: Pooled, context: Context) -> None:
        self.settings, self.context = settings, context
        key = ("pooled moments", context.layer_names, settings.raster)
        self.moments = context.shared(key, lambda: PooledMoments(context.layers, settings.raster, context.n_folds))

    def readout(self) -> MapReadout:
        """The weights of the chosen alpha, cut into layers."""
        best = cross_validate(self.moments.equations(), self.settings.alphas)
        raster = self.settings.raster
        parts = torch.split(best.solution.weights.float(), [layer.channels for layer in self.context.layers])
        weights = {name: part.reshape(-1, *raster) for name, part in zip(self.context.layer_names, parts, strict=True)}
        return MapReadout(best.solution.bias.float().reshape(raster), weights, info=sweep_info(best))


class PooledSGDTrainer(Trainer):
    """A map head in the backbone's bank."""

    def __init__(self, settings: Pooled, context: Context) -> None:
        self.settings = settings
        self.bank = shared_bank(context)
        self.run = self.bank.add_map(MapHead(context.layers, settings.raster), settings.training())

    def readout(self) -> MapReadout:
        """The head in the features' own units."""
        weights, bias = raw_units(self.bank, self.run)
        link = "exp" if self.settings.loss == "kl" else "identity"
        return MapReadout(bias.float(), weights, link=link, info=training_info(self.run))
