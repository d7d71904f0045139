"""Rows per cell and per image, in Parquet: the source of truth, complete without MLflow."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import yaml

from harness.errors import ResultsError
from harness.files import make_folder, replace, replacing, writing
from harness.flags import all_flags
from harness.per_image import PerImage
from harness.ranking import LOWER
from harness.recipe import Recipe
from harness.shown import shown_lines

if TYPE_CHECKING:
    import pandas as pd

    from harness.cells import Cell

Status = Literal["finished", "failed", "skipped"]
CELLS, PER_IMAGE, PAIRS = "cells.parquet", "per_image.parquet", "pairs.parquet"
FOLDS = "folds.parquet"
"""Each cell's means by fold, where a recipe lists several folds."""
RECIPE, RUN = "recipe.yaml", "run.json"
CELL, RESULT, MAPS = "cell.json", "result.json", "maps.npz"
CONTACT_SHEET, BEST_AND_WORST = "contact_sheet.jpg", "best_and_worst.jpg"


@dataclass
class CellResult:
    """Everything that is known of a cell once it has ended."""

    cell: Cell
    key: str
    identity: dict[str, Any]
    """The resolved cell: all that its key is a hash of, JSON-able."""
    status: Status
    error: str | None = None
    weights: str = "none"
    """What the weights resolved to."""
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """(low, high) of a metric's mean over images, 95 %."""
    shares: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """(share of the range from the floor to the ceiling, low, high), where there is such a range."""
    n_images: int = 0
    n_unscored: int = 0
    n_constant: int = 0
    """Images whose prediction is constant: scored by definition, but worth knowing."""
    unscored: dict[str, int] = field(default_factory=dict)
    """How many images each "metric: reason" left without a score."""
    seconds: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    """The readout's own account: alpha and its sweep, loss curves, warnings."""
    per_image: PerImage = field(default_factory=PerImage)
    folder: Path | None = None
    """The cell's own files: CELL, the readout's, MAPS and pictures, as far as there are."""

    @property
    def label(self) -> str:
        """How people name it, with the weights that were really used."""
        return dataclasses.replace(self.cell, weights=self.weights).label

    def names(self) -> dict[str, Any]:
        """What the cell is called and where it stands in the matrix."""
        cell = self.cell
        return {
            "cell_key": self.key,
            "dataset": cell.dataset,
            "backbone": cell.backbone,
            "weights": self.weights,
            "weights_sha256": (self.identity.get("weights") or {}).get("sha256"),
            "layers": cell.layer_set,
            "depth": cell.depth,
            "probe": cell.probe_label,
            "seed": cell.seed,
            "bound": cell.bound,
        }

    def row(self) -> dict[str, Any]:
        """The cell as a flat row of cells.parquet."""
        return {
            **self.names(),
            **self.metrics,
            **_in_columns(interval_columns, self.intervals),
            **_in_columns(share_columns, self.shares),
            "n_images": self.n_images,
            "n_unscored": self.n_unscored,
            "n_constant": self.n_constant,
            "unscored": json.dumps(self.unscored) if self.unscored else None,
            **{f"time_{phase}_s": seconds for phase, seconds in self.seconds.items()},
            "warnings": shown_lines("; ".join(self.info.get("warnings", []))) or None,
            "flags": " ".join(all_flags(self.info, self.n_unscored)) or None,
            "status": self.status,
            "error": None if self.error is None else shown_lines(self.error),
        }


def interval_columns(name: str) -> tuple[str, str]:
    """The columns of the interval of a metric's mean."""
    return f"{name}_ci_low", f"{name}_ci_high"


def share_columns(metric: str) -> tuple[str, str, str]:
    """The columns of a metric's share of the explainable range, and of its interval."""
    return f"share_{metric}", *interval_columns(f"share_{metric}")


def _in_columns(columns: Callable[[str], Sequence[str]], rows: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {column: x for name, row in rows.items() for column, x in zip(columns(name), row, strict=True)}


@dataclass(frozen=True)
class RunRecord:
    """What all cells of one run share, for observers."""

    recipe: Recipe
    folder: Path
    matrix_id: str
    dataset: dict[str, Any]
    """name, edition, points, digests, image counts, skipped images, whether it is synthetic."""
    environment: dict[str, Any]
    lower_is_better: tuple[str, ...] = ()
    """Of its metrics, as they were known where the run was made."""


class Observer(Protocol):
    """Is told of results as they come; must never stop the run."""

    def started(self, run: RunRecord) -> None:
        """Before the first pass."""

    def cell_ended(self, result: CellResult) -> None:
        """A cell is finished, failed or skipped; its files are on disk."""

    def ended(self, status: Literal["finished", "failed", "interrupted"]) -> None:
        """The run is over."""


class ResultsFolder:
    """Writes a run's results; each table is replaced in one step, so a reader never sees half of one.

    A cell's own files come first, and RESULT, by which it has ended, last of them; the tables are made from the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: list[dict[str, Any]] = []
        make_folder(folder)

    def open_cell(
        self, result: CellResult, network: dict[str, Any] | None, sizes: Collection[tuple[int, int]] = ()
    ) -> Path:
        """A folder for the cell's files, with CELL in it: all that tells what the cell is.

        `network` is the backbone's plugin with its parameters, `sizes` the training stimuli's (height, width), of
        which the extremes are kept. Files of an earlier run of the same cell are removed.
        """
        result.folder = cell_folder(self.folder, result.key)
        with writing(result.folder):
            (result.folder / RESULT).unlink(missing_ok=True)  # first, so that what is half removed has not ended
            shutil.rmtree(result.folder, ignore_errors=True)
            result.folder.mkdir(parents=True)
        document = {**result.names(), "label": result.label, "network": network, "resolved": result.identity}
        if sizes:
            document["training_sizes"] = [[f(axis) for axis in zip(*sizes, strict=True)] for f in (min, max)]
        replace(result.folder / CELL, json.dumps(document, indent=1, default=list, ensure_ascii=False).encode())
        return result.folder

    def close_cell(self, result: CellResult) -> None:
        """Write the scores and, once all else is there, RESULT: from now on the cell has ended."""
        from harness.readout_files import READOUT

        assert result.folder is not None
        if len(result.per_image):
            import pyarrow.parquet as pq

            with replacing(result.folder / PER_IMAGE) as temporary:
                pq.write_table(result.per_image.table(result.key), temporary)
        document = {
            "status": result.status,
            "error": result.error,
            "weights": result.weights,
            "metrics": {name: mean if math.isfinite(mean) else None for name, mean in result.metrics.items()},
            "n_constant": result.n_constant,
            "seconds": result.seconds,
            "info": {} if (result.folder / READOUT).exists() else result.info,
            "ended": time.time(),
        }
        replace(result.folder / RESULT, json.dumps(document, indent=1, default=str).encode())

    def write_recipe(self, recipe: Recipe) -> None:
        """The recipe as it was run, overrides included."""
        document = recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)
        replace(self.folder / RECIPE, yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode())

    def write_record(self, record: RunRecord) -> None:
        """What all cells share: the data's digests, versions, machine."""
        document = {
            "matrix_id": record.matrix_id,
            LOWER: list(record.lower_is_better),
            "dataset": record.dataset,
            "environment": record.environment,
        }
        replace(self.folder / RUN, json.dumps(document, indent=1).encode())

    def add(self, result: CellResult) -> None:
        """Take a cell's row; `flush` writes it, and the scores that `close_cell` wrote."""
        self._rows.append(result.row())

    def flush(self, others: Sequence[dict[str, Any]] = ()) -> None:
        """Write both tables with everything added so far, and the rows of other cells that have ended."""
        import pandas as pd

        known = {row["cell_key"] for row in self._rows}
        rows = [*self._rows, *(row for row in others if row["cell_key"] not in known)]
        self._write_per_image([row["cell_key"] for row in rows])
        replace(self.folder / CELLS, pd.DataFrame(rows).to_parquet(index=False))

    def _write_per_image(self, keys: Sequence[str]) -> None:
        """The cells' own tables one after the other, a cell a row group, one at a time in memory."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        paths = [cell_folder(self.folder, key) / PER_IMAGE for key in keys]
        paths = [path for path in dict.fromkeys(paths) if path.is_file()]
        schemas = [pq.read_schema(path) for path in paths] or [PerImage().table("").schema]
        schema = pa.unify_schemas(schemas)
        with replacing(self.folder / PER_IMAGE) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for path in paths:
                tables = [schema.empty_table(), pq.read_table(path)]
                writer.write_table(pa.concat_tables(tables, promote_options="default"))

    def write_pairs(self, pairs: pd.DataFrame) -> None:
        """The paired tests between cells, one row a pair."""
        replace(self.folder / PAIRS, pairs.to_parquet(index=False))


def cell_folder(folder: Path, key: str) -> Path:
    """Where a results folder has the files of that cell."""
    return folder / "cells" / key


def read_cells(folder: Path) -> pd.DataFrame:
    """cells.parquet of a results folder; raises ResultsError where there is none."""
    return _read(folder, CELLS)


def read_per_image(folder: Path) -> pd.DataFrame:
    """per_image.parquet of a results folder; raises ResultsError where there is none."""
    return _read(folder, PER_IMAGE)


def read_pairs(folder: Path) -> pd.DataFrame:
    """pairs.parquet of a results folder; raises ResultsError where there is none."""
    return _read(folder, PAIRS)


def read_folds(folder: Path) -> pd.DataFrame | None:
    """folds.parquet of a results folder; None for a run without folds."""
    return _read(folder, FOLDS) if (folder / FOLDS).exists() else None


def _read(folder: Path, name: str) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(folder / name)
    except (OSError, ValueError) as error:
        raise ResultsError(f"{folder} holds no readable {name} ({error}); is it the folder of a run?") from error
