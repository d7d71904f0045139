"""Recipes that are large in cells and small in everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PLUGIN = str(Path(__file__).with_name("small_network.py"))
SETTINGS: dict[str, Any] = {
    "plugins": [PLUGIN],
    "dataset": {"reader": "demo", "train": 10, "test": 6, "height": 96, "width": 128},
    "grid": 16,
    "folds": 2,
    "precision": "fp32",
    "workers": 0,
    "pictures": 2,
}


def soaking() -> dict[str, Any]:
    """Seven cells: closed forms, gradient descent, baselines, the ceiling."""
    sgd = {"name": "sgd", "loss": ["mse", "kl"], "epochs": 2, "layers": ["layer1"]}
    return {
        **SETTINGS,
        "name": "soak",
        "backbones": ["small"],
        "layers": ["layer0", ["layer0", "layer4"]],
        "probes": ["ridge", sgd, {"name": "pooled", "raster": [4, 6], "layers": ["layer1"]}, "centre", "observers"],
    }


def many_cells(cells: int, name: str = "many", seed: int = 0) -> dict[str, Any]:
    """So many cells, a multiple of 10 above 10; the centre and the observers are two more."""
    pairs = [[f"layer{i}", f"layer{(i + 3) % 10}"] for i in range(10)]
    layers = [*(f"layer{i}" for i in range(10)), *pairs]
    probes = [
        {"name": "ridge", "target": ["density", "standardised"], "position": [False, True]},
        {"name": "sgd", "loss": ["mse", "kl", "nll"], "learning_rate": [0.003, 0.01], "epochs": 2},
        "centre",
        "observers",
    ]
    per_layer_set = 4 + 6
    return {
        **SETTINGS,
        "name": name,
        "seed": seed,
        "backbones": ["small"],
        "layers": layers[: cells // per_layer_set],
        "probes": probes,
    }
