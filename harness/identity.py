"""What a cell is: a hash of everything that can change its numbers.

Left out on purpose: batch size, device, processes, threads and where features are cached, which change rounding only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness._plugin import as_entry
from harness.density import SIGMA_AT_480, TRUNCATE
from harness.metrics import Metric

if TYPE_CHECKING:
    from harness._backbone import LoadedBackbone
    from harness.cells import Cell
    from harness.data.dataset import Dataset
    from harness.recipe import Recipe

SCORING_VERSION = 2
"""Raised when the road from features to numbers changes: resizing, fitting, scoring conventions."""

SCORING_ONLY = ("test", "test_dataset", "metrics")
"""Of a resolved cell: what its readout does not depend on, beside the scales of held-out images."""

RELEASED = "released, the prior of points"
"""Of which density: a key of its own since the prior no longer has the released map taken out of it."""


def identity(
    cell: Cell,
    recipe: Recipe,
    train: Dataset,
    test: Dataset,
    loaded: LoadedBackbone | None,
    metrics: Sequence[Metric],
) -> dict[str, Any]:
    """The resolved cell, JSON-able; `cell_key` is its hash."""
    return {
        "scoring_version": SCORING_VERSION,
        "dataset": _named(train),
        **({"test_dataset": _named(test)} if recipe.crosses else {}),
        "train": {"images": len(train), "digest": train.digest},
        "test": {"images": len(test), "digest": test.digest},
        "backbone": cell.backbone,
        "weights": None if loaded is None else dataclasses.asdict(loaded.weights),
        "preprocessing": None if loaded is None else dataclasses.asdict(loaded.preprocessing),
        "layers": [dataclasses.asdict(layer) for layer in cell.layers],
        "input": recipe.input.model_dump(mode="json", exclude={"test_scales"} if loaded is None else None),
        "grid": recipe.grid,
        "precision": None if loaded is None else recipe.precision,
        "training_features": None if loaded is None else recipe.cache.precision,
        "folds": recipe.folds,
        "density": RELEASED if test.maps else {"sigma_at_480": SIGMA_AT_480, "truncate": TRUNCATE},
        "probe": as_entry(cell.probe),
        **({"probe_revision": cell.probe.revision} if cell.probe.revision > 1 else {}),
        "seed": cell.seed,
        "metrics": {metric.name: metric.version for metric in metrics},
        **({"plugins": dict(cell.plugins)} if cell.plugins else {}),
    }


def _named(dataset: Dataset) -> dict[str, str]:
    return {"name": dataset.name, "edition": dataset.edition, "points": dataset.points_kind}


def training_key(resolved: Mapping[str, Any]) -> str:
    """As `cell_key`, over all that can change the readout: cells with the same one differ in how they are scored.

    Of a cell that reads no network it is the key.
    """
    if resolved["weights"] is None:
        return cell_key(resolved)
    counted = {name: value for name, value in resolved.items() if name not in SCORING_ONLY}
    counted["input"] = {name: value for name, value in resolved["input"].items() if name != "test_scales"}
    return cell_key(counted)


def cell_key(resolved: Mapping[str, Any]) -> str:
    """16 hex digits of the sha256 over the resolved cell; where weights lie does not count, their digest does."""
    weights = resolved["weights"]
    counted = {**resolved, "weights": weights and weights["sha256"]}
    return hashlib.sha256(json.dumps(counted, sort_keys=True, default=list).encode()).hexdigest()[:16]
