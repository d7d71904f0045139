"""Cells that ended in an earlier run into the same folder: which there are, and their results read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ResultsError
from harness.files import make_folder, replace
from harness.per_image import PerImage
from harness.readout_files import read_info
from harness.results import CELL, PER_IMAGE, RESULT, CellResult, cell_folder, read_cells
from harness.snapshots import STATE

if TYPE_CHECKING:
    from harness.cells import Cell
    from harness.metrics import Metric


SUPERSEDED = "overwrite.json"
"""Beside the state: the results that do not count, for the rest of a run which computes all again."""


def supersede_all(folder: Path) -> None:
    """From now on what has ended in that folder does not count, until a run has come to its end there.

    Told by its content, not by its time: clocks are set back.
    """
    found = {path.parent.name: _digest(path) for path in (folder / "cells").glob(f"*/{RESULT}")}
    make_folder(folder / STATE)
    replace(folder / STATE / SUPERSEDED, json.dumps(found, indent=1, sort_keys=True).encode())


class EndedCells:
    """The finished cells of a results folder; those that `supersede_all` found there do not count."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = {path.parent.name: _document(path) for path in sorted((folder / "cells").glob(f"*/{RESULT}"))}
        self._documents = {key: document for key, document in found.items() if document.get("status") == "finished"}
        self.every = set(self._documents)
        """The keys of all of them, early or late."""
        self.keys = self.every - _superseded(folder)
        self.asked: set[str] = set()
        """The cells, finished or not, that the present run has asked for."""
        self.reused: set[str] = set()
        """Those of them that it got."""

    def reopen(self, key: str, cell: Cell, identity: dict[str, Any], metrics: Sequence[Metric]) -> CellResult | None:
        """What the run that computed a cell knew of it, but for intervals and shares; None where it must be run.

        Means are taken from the scores again, so they are those of a run that has just scored them.
        """
        self.asked.add(key)
        if key not in self.keys:
            return None
        folder, document = cell_folder(self.folder, key), self._documents[key]
        try:
            per_image = _scores(folder)
        except (OSError, ValueError):  # somebody damaged it: it is run again
            self.keys.discard(key)
            return None
        self.reused.add(key)
        return CellResult(
            cell,
            key,
            identity,
            "finished",
            weights=document["weights"],
            metrics={metric.name: per_image.mean(metric.name) for metric in metrics},
            n_images=len(per_image),
            n_unscored=len(per_image.unscored),
            n_constant=document["n_constant"],
            unscored=dict(per_image.reasons()),
            seconds=document["seconds"],
            info=read_info(folder) or document["info"],
            per_image=per_image,
            folder=folder,
        )

    def rows(self, data: Sequence[str]) -> list[dict[str, Any]]:
        """Their rows as the tables have them, of those on the same data (digests of both splits)."""
        try:
            rows = read_cells(self.folder).to_dict("records")
        except ResultsError:
            return []
        known = [row for row in rows if row["cell_key"] in self.keys and self._data(str(row["cell_key"])) == list(data)]
        return [{str(name): None if value != value else value for name, value in row.items()} for row in known]

    def left_over(self) -> list[str]:
        """The labels of those that the present run did not ask for."""
        return [str(self._about(key).get("label", key)) for key in sorted(self.every - self.asked)]

    def _data(self, key: str) -> list[Any]:
        resolved = self._about(key).get("resolved", {})
        return [resolved.get(split, {}).get("digest") for split in ("train", "test")]

    def _about(self, key: str) -> dict[str, Any]:
        return _document(cell_folder(self.folder, key) / CELL)


def _superseded(folder: Path) -> set[str]:
    """The keys of those that have not been computed again."""
    noted: Mapping[str, Any] = _document(folder / STATE / SUPERSEDED)
    return {key for key, digest in noted.items() if _digest(cell_folder(folder, key) / RESULT) == digest}


def _digest(result: Path) -> str | None:
    """What tells one computation of a cell from another; None where there is none."""
    with suppress(OSError):
        return hashlib.sha256(result.read_bytes()).hexdigest()
    return None


def _scores(folder: Path) -> PerImage:
    import pyarrow.parquet as pq

    return PerImage.of_table(pq.read_table(folder / PER_IMAGE))


def _document(path: Path) -> dict[str, Any]:
    """Empty where it cannot be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
