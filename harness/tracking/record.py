"""A cell's result as MLflow's flat tags, params and metrics. Pure functions; nothing here imports mlflow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from harness.results import interval_columns, share_columns

if TYPE_CHECKING:
    from harness.results import CellResult, RunRecord

Point = tuple[str, float, int]
"""(metric, value, step)."""

MAX_POINTS = 200
"""Of one curve; longer ones are thinned evenly."""
TAG_LENGTH = 4000
CURVES = {"epoch_loss": "train/epoch_loss", "step_loss": "train/step_loss", "cv_error": "cv_error"}
"""From the readout's account to MLflow's metric. The step of `cv_error` counts the alphas, from the smallest."""


def tags(run: RunRecord, result: CellResult) -> dict[str, str]:
    """What runs are grouped and filtered by."""
    cell, synthetic = result.cell, bool(run.dataset.get("synthetic"))
    commit, dirty = run.environment.get("git_commit"), run.environment.get("git_dirty")
    found = {
        "recipe": run.recipe.name,
        "matrix": run.matrix_id,
        "cell_key": result.key,
        "backbone": cell.backbone,
        "weights": result.weights,
        "layers": cell.layer_set,
        "probe": cell.probe_label,
        "dataset": cell.dataset,
        "synthetic": str(synthetic).lower(),
        "status": result.status,
        "salprobe.version": _version(),
        "git_commit": commit,
        "git_dirty": None if dirty is None else str(dirty).lower(),
        "error": result.error,
        "warnings": "; ".join(result.info.get("warnings", [])),
        "mlflow.source.name": "salprobe",
        "mlflow.source.git.commit": commit,
        "mlflow.note.content": "**Synthetic** images and gaze: not a measurement of people." if synthetic else None,
    }
    return {name: str(value)[:TAG_LENGTH] for name, value in found.items() if value}


def params(run: RunRecord, result: CellResult) -> dict[str, str]:
    """The few settings that tell cells apart, the probe's own under `probe.`."""
    cell, recipe = result.cell, run.recipe
    settings: dict[str, Any] = dataclasses.asdict(cell.probe)  # type: ignore[call-overload]
    found = {
        "layers": [layer.name for layer in cell.layers],
        "input": recipe.input.size or f"x{recipe.input.scale:g}",
        "grid": recipe.grid,
        "folds": recipe.folds,
        "seed": cell.seed,
        "precision": recipe.precision,
        "alpha": result.info.get("alpha"),
        **{f"probe.{name}": value for name, value in settings.items()},
    }
    return {name: _text(value) for name, value in found.items() if value is not None}


def points(run: RunRecord, result: CellResult) -> tuple[list[Point], dict[str, str]]:
    """(finite metric points, a tag for every metric that had a value which is not)."""
    single = {**result.metrics, "n_images": result.n_images, "n_unscored": result.n_unscored}
    single |= {f"time/{phase}_s": seconds for phase, seconds in result.seconds.items()}
    single |= _uncertainty(result, run.recipe.compare)
    found = [(name, float(value), 0) for name, value in single.items()]
    for source, name in CURVES.items():
        found += thin([(name, _number(value), step) for step, value in enumerate(result.info.get(source) or [])])
    nonfinite = {f"nonfinite.{name}": str(value) for name, value, _ in found if not math.isfinite(value)}
    return [point for point in found if math.isfinite(point[1])], nonfinite


def _uncertainty(result: CellResult, metric: str) -> dict[str, float]:
    """Every metric's interval; the share of the explainable range of the metric that cells are compared on only."""
    found: dict[str, float] = {}
    for name, ends in result.intervals.items():
        found |= dict(zip(interval_columns(name), ends, strict=True))
    share = result.shares.get(metric)
    return found | ({share_columns(metric)[0]: share[0]} if share else {})


def thin(curve: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` points, evenly spaced, the first and the last among them."""
    if len(curve) <= most:
        return list(curve)
    return [curve[round(i * (len(curve) - 1) / (most - 1))] for i in range(most)]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _version() -> str:
    try:
        return version("salience-probe")
    except PackageNotFoundError:
        return "unknown"
