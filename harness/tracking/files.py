"""The files that go with a cell's run, laid out as they will stand among its artifacts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.results import BEST_AND_WORST, CELL, CONTACT_SHEET, RECIPE
from harness.tracking.pictures import stage_images

if TYPE_CHECKING:
    from harness.album import Album
    from harness.results import CellResult, RunRecord

TABLE, SHOWN_TABLE = "per_image.parquet", "per_image.json"
"""The same scores twice: what `load_table` reads, and the JSON which is all that MLflow's UI can show as a table."""


def stage(run: RunRecord, result: CellResult, album: Album, folder: Path, timestamp: int) -> dict[str, str]:
    """Write everything into an empty folder; the tags that tell MLflow's UI of tables and images."""
    (folder / "environment.json").write_text(_json(run.environment), encoding="utf-8")
    _copy(run.folder / RECIPE, folder)
    if result.folder is None or not _copy(result.folder / CELL, folder):
        (folder / CELL).write_text(_json({"cell_key": result.key, "resolved": result.identity}), encoding="utf-8")
    if result.error:
        (folder / "error.txt").write_text(result.error + "\n", encoding="utf-8")
    for picture in (CONTACT_SHEET, BEST_AND_WORST):
        if result.folder is not None:
            _copy(result.folder / picture, folder)
    found = {}
    if stage_images(run, result, album, folder, timestamp):
        found["mlflow.loggedImages"] = "True"
    if len(result.per_image):
        _write_table(result, folder)
        found["mlflow.loggedArtifacts"] = json.dumps([{"path": name, "type": "table"} for name in (TABLE, SHOWN_TABLE)])
    return found


def _write_table(result: CellResult, folder: Path) -> None:
    import pyarrow.parquet as pq

    table = result.per_image.table(result.key)
    pq.write_table(table, folder / TABLE)
    shown = table.drop_columns(["cell_key"])
    rows = [[_short(value) for value in row.values()] for row in shown.to_pylist()]
    document = {"columns": shown.column_names, "data": rows}
    (folder / SHOWN_TABLE).write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")


def _copy(path: Path, folder: Path) -> bool:
    if not path.is_file():
        return False
    shutil.copyfile(path, folder / path.name)
    return True


def _short(value: object) -> object:
    """Five digits are enough to look at."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, default=str)
