"""A results folder read back: what a run told its observers, from the files alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from harness._probe import Context, Probe
from harness.cells import Cell
from harness.errors import ResultsError
from harness.per_image import PerImage
from harness.ranking import LOWER
from harness.readout_files import read_info
from harness.recipe import load_recipe
from harness.results import (
    CELL,
    PER_IMAGE,
    RECIPE,
    RESULT,
    RUN,
    CellResult,
    RunRecord,
    cell_folder,
    interval_columns,
    read_cells,
    share_columns,
)
from harness.types import LayerSpec

if TYPE_CHECKING:
    import pyarrow.parquet as pq

Row = dict[str, Any]
_TIME = ("time_", "_s")


@dataclass(frozen=True)
class Past(Probe):
    """What stands in a cell read from disk: trained long ago, its parameters are in the resolved cell."""

    trained: str

    @property
    def label(self) -> str:
        """The name it went by."""
        return self.trained

    def trainer(self, context: Context) -> NoReturn:
        """Nothing is trained again."""
        raise NotImplementedError("a cell read from disk is not trained")


@dataclass(frozen=True)
class FinishedRun:
    """A run as its observers saw it."""

    record: RunRecord
    results: list[CellResult]


def read_run(folder: Path) -> FinishedRun:
    """Everything in a results folder; raises ResultsError where part of it is missing or not readable."""
    return FinishedRun(read_record(folder), read_results(folder))


def read_results(folder: Path) -> list[CellResult]:
    """The cells alone, as far as their own files are there; raises ResultsError without the tables."""
    records = read_cells(folder).to_dict("records")
    rows: list[Row] = [{str(k): None if v != v else v for k, v in record.items()} for record in records]
    scores = dict(_per_image(folder))
    return [_result(folder, row, scores.get(row["cell_key"], PerImage())) for row in rows]


def read_record(folder: Path) -> RunRecord:
    """What all cells of a run share; raises ResultsError."""
    about = _document(folder / RUN)
    try:
        recipe = load_recipe(str(folder / RECIPE))
        lower = tuple(about.get(LOWER, ()))
        return RunRecord(recipe, folder, about["matrix_id"], about["dataset"], about["environment"], lower)
    except (LookupError, ValueError) as error:
        raise ResultsError(f"{folder / RUN} is not what a run writes: {error!r}") from error


def _result(folder: Path, row: Row, per_image: PerImage) -> CellResult:
    own = cell_folder(folder, row["cell_key"])
    about = _document(own / CELL) if (own / CELL).is_file() else {"resolved": {}}
    identity = about["resolved"]
    layers = tuple(LayerSpec(**layer) for layer in identity.get("layers", ()))
    probe = Past(trained=row["probe"])
    names = (row["dataset"], row["backbone"], row["weights"], row["layers"])
    depth = None if row.get("depth") is None else int(row["depth"])
    result = CellResult(
        Cell(*names, layers, row["probe"], probe, int(row["seed"]), depth=depth),
        row["cell_key"],
        identity,
        row["status"],
        row["error"],
        row["weights"],
        n_images=int(row["n_images"]),
        n_unscored=int(row["n_unscored"]),
        n_constant=int(row["n_constant"]),
        unscored=json.loads(row["unscored"] or "{}"),
        seconds={k[len("time_") : -len("_s")]: v for k, v in row.items() if _is_time(k) and v is not None},
        info=_info(own),
        per_image=per_image,
        folder=own if own.is_dir() else None,
    )
    for metric in per_image.metrics:
        result.metrics[metric] = float("nan") if row.get(metric) is None else row[metric]
        low, high = (row.get(name) for name in interval_columns(metric))
        if low is not None and high is not None:
            result.intervals[metric] = (low, high)
        share, share_low, share_high = (row.get(name) for name in share_columns(metric))
        if share is not None:
            result.shares[metric] = (share, share_low or share, share_high or share)
    return result


def _info(cell: Path) -> dict[str, Any]:
    """With its readout, or with its result where that is not saved."""
    if (found := read_info(cell)) or not (cell / RESULT).is_file():
        return found
    return dict(_document(cell / RESULT).get("info", {}))


def _is_time(column: str) -> bool:
    start, end = _TIME
    return column.startswith(start) and column.endswith(end)


def _per_image(folder: Path) -> Iterator[tuple[str, PerImage]]:
    """(cell key, scores), a cell a row group as the run wrote them."""
    import pyarrow.parquet as pq

    try:
        file: pq.ParquetFile = pq.ParquetFile(folder / PER_IMAGE)
    except (OSError, ValueError) as error:
        raise ResultsError(f"{folder} holds no readable {PER_IMAGE} ({error}); is it the folder of a run?") from error
    with file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            if table.num_rows:
                yield str(table["cell_key"][0]), PerImage.of_table(table)


def _document(path: Path) -> Row:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot read {path} ({error}); is it the folder of a run?") from error
    if not isinstance(document, dict):
        raise ResultsError(f"{path} is not what a run writes")
    return document
