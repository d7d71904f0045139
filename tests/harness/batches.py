"""Small random batches for tests: two layers, one on the fitting grid and one coarser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from harness.types import Batch, LayerSpec, Points

SIZE = (48, 64)
GRID = (6, 8)
LAYERS = (LayerSpec("fine", 4, 8), LayerSpec("coarse", 6, 16))
GRIDS = {"fine": (6, 8), "coarse": (3, 4)}


def random_batch(ids: Sequence[int], folds: int = 3, points_per_image: int = 12) -> Batch:
    """Features and gaze drawn from each image's id, so that a batch is the sum of its images."""
    features: dict[str, list[torch.Tensor]] = {layer.name: [] for layer in LAYERS}
    points = []
    for id_ in ids:
        rng = np.random.default_rng(id_)
        for layer in LAYERS:
            values = rng.gamma(1.0, 1.0 + 0.1 * layer.channels, (layer.channels, *GRIDS[layer.name]))
            features[layer.name].append(torch.from_numpy(values).float())
        row, col = rng.integers(0, SIZE[0], points_per_image), rng.integers(0, SIZE[1], points_per_image)
        observer = np.arange(points_per_image) % 4
        points.append(Points(row.astype(np.int32), col.astype(np.int32), observer.astype(np.int32)))
    stacked = {name: torch.stack(parts) for name, parts in features.items()}
    return Batch(tuple(ids), SIZE, GRID, tuple(points), stacked, tuple(i % folds for i in ids), sigma=3.0)
