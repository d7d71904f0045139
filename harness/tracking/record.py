"""A cell's result as MLflow's flat tags, params and metrics. Pure functions; nothing here imports mlflow."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from harness.curves import curve
from harness.flags import all_flags, unscored_words
from harness.left_out import left_out_words
from harness.overlap import overlap_words
from harness.ranking import higher_is_better
from harness.results import interval_columns, share_columns

if TYPE_CHECKING:
    from harness.recipe import InputSize
    from harness.results import CellResult, RunRecord

Point = tuple[str, float, int]
"""(metric, value, step)."""

MAX_POINTS = 200
"""Of one curve; longer ones are thinned evenly."""
TAG_LENGTH = 4000
TRAINING = {"epoch_loss": "train/epoch_loss", "step_loss": "train/step_loss"}
"""From the readout's account to MLflow's metric; the step counts epochs or optimiser steps from 0."""
ALPHA_PATH = "ridge/cv_error_at_10log10_alpha"
"""Mean squared error on left-out training images; the step is 10 log10(alpha), rounded, so it may be negative."""
CURVES = (*TRAINING.values(), ALPHA_PATH)
SYNTHETIC = "**Synthetic** images and gaze: not a measurement of people."


def tags(run: RunRecord, result: CellResult) -> dict[str, str]:
    """What runs are grouped and filtered by."""
    cell = result.cell
    warnings = "; ".join(_warnings(run, result))
    found = {
        **shared_tags(run),
        "kind": "cell",
        "cell_key": result.key,
        "backbone": cell.backbone,
        "weights": result.weights,
        "layers": cell.layer_set,
        "probe": cell.probe_label,
        "dataset": cell.dataset,
        "status": result.status,
        "error": result.error,
        "warnings": warnings,
        **{f"flag.{name}": "true" for name in all_flags(result.info, result.n_unscored)},
        "mlflow.note.content": _note(run, result, warnings),
    }
    return as_tags(found)


def shared_tags(run: RunRecord) -> dict[str, str | None]:
    """What all runs of a matrix have in common."""
    commit, dirty = run.environment.get("git_commit"), run.environment.get("git_dirty")
    return {
        "recipe": run.recipe.name,
        "matrix": run.matrix_id,
        "data": data_id(run),
        "compare": run.recipe.compare,
        "better": "higher" if higher_is_better(run.recipe.compare, run.lower_is_better) else "lower",
        "overlap": str(run.dataset.get("overlap", {}).get("images") or ""),
        "synthetic": str(bool(run.dataset.get("synthetic"))).lower(),
        "salprobe.version": _version(),
        "git_commit": commit,
        "git_dirty": None if dirty is None else str(dirty).lower(),
        "mlflow.source.name": "salprobe",
        "mlflow.source.git.commit": commit,
    }


def as_tags(found: dict[str, Any]) -> dict[str, str]:
    """Those that say something, as text that fits."""
    return {name: str(value)[:TAG_LENGTH] for name, value in found.items() if value}


def run_name(label: str) -> str:
    """A label with the network last: the UI cuts names at their end, and a matrix has few networks."""
    network, *rest = label.split(" · ")
    return " · ".join([*rest, network])


def _input(asked: InputSize) -> str:
    """ "x1", or "x1, held-out images at 1 and 1.13 times that"."""
    own = _text(asked.size or f"x{asked.scale:g}")
    return f"{own}, held-out images at {asked.other_scales} times that" if asked.other_scales else own


def data_id(run: RunRecord) -> str:
    """The same for all runs on the same images and gaze: whose cells can have equal keys."""
    digests = [run.dataset.get(split, {}).get("digest") for split in ("train", "test")]
    return hashlib.sha256(json.dumps([run.dataset.get("name"), *digests]).encode()).hexdigest()[:12]


def params(run: RunRecord, result: CellResult) -> dict[str, str]:
    """The few settings that tell cells apart, the probe's own under `probe.`."""
    cell, recipe = result.cell, run.recipe
    found = {
        "layers": [layer.name for layer in cell.layers],
        "input": _input(recipe.input),
        "grid": recipe.grid,
        "folds": recipe.folds,
        "seed": cell.seed,
        "precision": recipe.precision,
        "alpha": result.info.get("alpha"),
        **{f"probe.{name}": value for name, value in _settings(result).items()},
    }
    return {name: _text(value) for name, value in found.items() if value is not None}


def points(run: RunRecord, result: CellResult) -> tuple[list[Point], dict[str, str]]:
    """(finite metric points, a tag for every metric that had a value which is not)."""
    single = {**result.metrics, "n_images": result.n_images, "n_unscored": result.n_unscored}
    single |= {f"time/{phase}_s": seconds for phase, seconds in result.seconds.items()}
    single |= {} if result.cell.depth is None else {"depth": result.cell.depth}
    single |= _uncertainty(result, run.recipe.compare)
    found = [(name, float(value), 0) for name, value in single.items()]
    for source, name in TRAINING.items():
        found += thin([(name, value, step) for step, value in enumerate(curve(result.info, source))])
    return finite([*found, *alpha_path(result.info)])


def alpha_path(info: dict[str, Any]) -> list[Point]:
    """A ridge's cross-validated error over its penalties, drawn over 10 log10(alpha)."""
    path = zip(curve(info, "alphas"), curve(info, "cv_error"), strict=False)
    found = [(ALPHA_PATH, error, round(10 * math.log10(alpha))) for alpha, error in path if alpha > 0]
    return sorted(found, key=lambda point: point[2])


def finite(found: Iterable[Point]) -> tuple[list[Point], dict[str, str]]:
    """(the points that MLflow can keep, a tag for every metric that had others)."""
    found = list(found)
    nonfinite = {f"nonfinite.{name}": str(value) for name, value, _ in found if not math.isfinite(value)}
    return [point for point in found if math.isfinite(point[1])], nonfinite


def thin(curve: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` points, evenly spaced, the first and the last among them."""
    if len(curve) <= most:
        return list(curve)
    return [curve[round(i * (len(curve) - 1) / (most - 1))] for i in range(most)]


def _uncertainty(result: CellResult, metric: str) -> dict[str, float]:
    """Every metric's interval; the share of the explainable range of the metric that cells are compared on only."""
    found: dict[str, float] = {}
    for name, ends in result.intervals.items():
        found |= dict(zip(interval_columns(name), ends, strict=True))
    share = result.shares.get(metric)
    return found | ({share_columns(metric)[0]: share[0]} if share else {})


def _settings(result: CellResult) -> dict[str, Any]:
    """The probe's parameters, as they stand in the resolved cell."""
    resolved = result.identity.get("probe")
    found = resolved if isinstance(resolved, dict) else dataclasses.asdict(result.cell.probe)  # type: ignore[call-overload]
    return {name: value for name, value in found.items() if name != "name"}


def _warnings(run: RunRecord, result: CellResult) -> list[str]:
    """What the readout says of itself, which images have no score, were training images, or were left out."""
    found = [*map(str, result.info.get("warnings", ())), overlap_words(run.dataset), left_out_words(run.dataset)]
    if result.n_unscored:
        found.append(unscored_words(result.unscored, result.n_unscored, result.n_images))
    return [words for words in found if words]


def _note(run: RunRecord, result: CellResult, warnings: str) -> str:
    """The run's description."""
    lines = [SYNTHETIC] if run.dataset.get("synthetic") else []
    lines += [f"Warnings: {warnings}."] if warnings else []
    lines += [f"Failed: {result.error}"] if result.error else []
    if result.info.get("alphas"):
        lines.append(f"Of `{ALPHA_PATH}` the step is 10 log10(alpha): -30 is alpha 0.001, 0 is 1, 30 is 1000.")
    return "\n\n".join(lines)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _version() -> str:
    try:
        return version("salience-probe")
    except PackageNotFoundError:
        return "unknown"
