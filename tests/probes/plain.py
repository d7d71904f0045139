"""The plain side of a probe: features laid out position by position, and a probe taught by a stream of batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from harness import Batch, Context, Probe, Readout
from harness.grid import resize
from harness.types import LayerSpec
from tests.harness.batches import LAYERS, random_batch

FOLDS = 3
IMAGES = 18


def stream(images: int = IMAGES) -> list[Batch]:
    """Batches of one fold each, as the harness makes them."""
    return [random_batch(range(fold, images, FOLDS), FOLDS) for fold in range(FOLDS)]


def context(images: int = IMAGES, layers: tuple[LayerSpec, ...] = LAYERS, seed: int = 0) -> Context:
    return Context(layers, n_images=images, n_folds=FOLDS, seed=seed, device=torch.device("cpu"), _shared={})


def taught(probe: Probe, batches: Sequence[Batch], layers: tuple[LayerSpec, ...] = LAYERS) -> Readout:
    """The probe's readout after as many passes as it and its shared work ask for."""
    about = context(sum(map(len, batches)), layers)
    trainer = probe.trainer(about)
    waiting = [*about._shared.values(), trainer]
    while waiting:
        for batch in batches:
            for consumer in waiting:
                consumer.update(batch)
        # trainers end their pass before what they share, as in a run
        waiting = [consumer for consumer in reversed(waiting) if consumer.end_pass()][::-1]
    return trainer.readout()


def positions(
    batches: Sequence[Batch], layers: tuple[LayerSpec, ...] = LAYERS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(features, density) with a row for every cell of the fitting grid, image by image."""
    x = [
        torch.cat([resize(b.features[layer.name].double(), b.grid) for layer in layers], 1).movedim(1, -1).flatten(0, 2)
        for b in batches
    ]
    y = [b.target().double().flatten() for b in batches]
    return torch.cat(x).numpy(), torch.cat(y).numpy()
