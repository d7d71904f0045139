"""Which cell is meant: a cell's folder, a results folder, an MLflow model's folder, or a run of an MLflow store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cells import NO_BACKBONE
from harness.errors import ResultsError
from harness.export import Row, label_of, select_cell, where_else
from harness.finished_run import read_record
from harness.predictor import FILES, is_cell
from harness.ranking import higher_is_better
from harness.results import CELLS, cell_folder, read_cells
from harness.tracking import store_uri
from harness.tracking.fetch import fetch_cell, is_reference

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def find_cell(wanted: str, cell: str | None, results: Path, into: Path) -> tuple[Path, str | None]:
    """(folder of a cell's files, why that cell where nobody chose it).

    `cell` chooses in a results folder. What an MLflow run or model has is downloaded `into` a folder; the store is the
    one of `results`, or MLFLOW_TRACKING_URI. Raises ResultsError, TrackingError.
    """
    place = Path(wanted)
    if not place.exists():
        if is_reference(wanted):
            return _unchosen(fetch_cell(wanted, store_uri(results), into), cell)
        raise ResultsError(
            f"--readout {wanted}: no such folder, and neither an MLflow run's id nor runs:/... or models:/...; "
            "give results/RECIPE, results/RECIPE/cells/KEY or one of these"
        )
    folder = place.parent if place.name in FILES else place
    if (folder / CELLS).is_file():
        return _in_results(folder, cell)
    return _unchosen(folder if is_cell(folder) else _below(folder), cell)


def _in_results(folder: Path, cell: str | None) -> tuple[Path, str | None]:
    rows: list[Row] = read_cells(folder).to_dict("records")
    if cell is not None:
        chosen = cell_folder(folder, select_cell(rows, cell)["cell_key"])
        if not is_cell(chosen):
            raise ResultsError(f"{folder}: no readout of {cell!r} is saved{where_else(folder)}")
        return chosen, None
    record = read_record(folder)
    metric = record.recipe.compare
    saved = [row for row in rows if is_cell(cell_folder(folder, row["cell_key"]))]
    row = best(saved, metric, record.lower_is_better)
    if row is None:
        raise ResultsError(f"{folder}: no finished cell with a network has a saved readout{where_else(folder)}")
    why = f"the best cell with a network by {metric} ({row[metric]:.3f}); --cell chooses another"
    return cell_folder(folder, row["cell_key"]), f"{label_of(row)}: {why}"


def best(rows: Sequence[Row], metric: str, lower: Collection[str] = ()) -> Row | None:
    """The finished cell with a network whose mean is best; the run said of metrics `lower` that lower is better."""
    rivals = [r for r in rows if r["status"] == "finished" and r["backbone"] != NO_BACKBONE]
    scored = [row for row in rivals if math.isfinite(row.get(metric, math.nan))]
    sign = 1 if higher_is_better(metric, lower) else -1
    return max(scored, key=lambda row: sign * row[metric], default=None)


def _unchosen(folder: Path, cell: str | None) -> tuple[Path, None]:
    if cell is not None:
        raise ResultsError(f"--cell {cell!r} chooses in a results folder; {folder} is one cell already")
    return folder, None


def _below(folder: Path) -> Path:
    """The one cell somewhere in a folder, such as an MLflow model's."""
    if runs := sorted(path.parent for path in folder.glob(f"*/{CELLS}")):
        raise ResultsError(f"{folder} holds the results of several runs; name one of {', '.join(map(str, runs))}")
    found = sorted(path.parent for path in folder.rglob(FILES[0]) if is_cell(path.parent))
    if len(found) == 1:
        return found[0]
    if not found:
        raise ResultsError(
            f"{folder} holds no cell ({', '.join(FILES)}); give results/RECIPE or results/RECIPE/cells/KEY"
        )
    raise ResultsError(
        f"{folder} holds {len(found)} cells; give the results folder with --cell, or one of {found[0]} ..."
    )
