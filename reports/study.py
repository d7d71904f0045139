"""A results folder as a report reads it, once: the ranked rows, what each cell left on disk, the pictures' images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.album import Album
from harness.errors import ResultsError
from harness.finished_run import read_results
from harness.module_backbone import untrained
from harness.ranking import LOWER, higher_is_better
from harness.results import MAPS, CellResult, cell_folder
from harness.small_maps import SmallMaps
from reports._board import Board, has_network, read_boards, read_recipe
from reports.provenance import Document

Row = dict[str, Any]
PIXELS = "pixels"
"""The backbone that is no network but the image itself."""


@dataclass(frozen=True)
class Study:
    """One run; `results` are by cell key."""

    name: str
    board: Board
    results: Mapping[str, CellResult]
    about: Document
    recipe: Document

    @property
    def by(self) -> str:
        """The metric that ranks."""
        return self.board.by or ""

    @property
    def higher_is_better(self) -> bool:
        """Of the ranking metric."""
        return higher_is_better(self.by, self.lower)

    @property
    def lower(self) -> Sequence[str]:
        """Metrics of which the run says that lower is better."""
        return tuple(self.about.get(LOWER, ()))

    @property
    def synthetic(self) -> bool:
        """Whether images and gaze are generated."""
        return bool(self.about.get("dataset", {}).get("synthetic", "synthetic" in self.board.dataset))

    @property
    def scored(self) -> list[Row]:
        """Finished cells that have the ranking metric, best first."""
        return [row for row in self.board.finished if row.get(self.by) is not None]

    @property
    def networks(self) -> list[Row]:
        """Those of them that read features."""
        return [row for row in self.scored if has_network(row)]

    @property
    def best(self) -> Row | None:
        """The best cell with a network, else the best cell."""
        return next(iter([*self.networks, *self.scored]), None)

    def bound(self, which: str) -> Row | None:
        """The "floor" or the "ceiling" of the explainable range."""
        named = {"floor": "centre", "ceiling": "observers"}[which]  # as folders without the column call them
        rows = [row for row in self.scored if not has_network(row)]
        marked = [row for row in rows if row.get("bound") == which]
        return next(iter(marked or [row for row in rows if row["probe"] == named]), None)

    def info(self, row: Row) -> dict[str, Any]:
        """The readout's own account."""
        result = self.results.get(row["cell_key"])
        return result.info if result else {}

    @cached_property
    def album(self) -> Album | None:
        """The held-out images that were kept; None where there are none."""
        album = Album(self.board.folder)
        try:
            return album if album.ids else None
        except ResultsError:
            return None

    def maps(self, row: Row) -> SmallMaps | None:
        """The cell's predictions, small; None where they were not kept."""
        try:
            return SmallMaps.load(cell_folder(self.board.folder, row["cell_key"]) / MAPS)
        except ResultsError:
            return None


def read_studies(folders: Sequence[Path], by: str | None = None) -> list[Study]:
    """The runs in these folders, ranked by `by` or by each recipe's own metric; raises ResultsError."""
    return [_study(name, board) for name, board in read_boards(folders, by).items()]


def depth(row: Row) -> int | None:
    """How deep the one layer lies that was read; None for several layers."""
    return None if row.get("depth") is None else int(row["depth"])


def by_depth(rows: Sequence[Row]) -> list[Row]:
    """Shallow to deep, those that read several layers last."""
    return sorted(rows, key=lambda row: (depth(row) is None, depth(row) or 0, len(str(row["layers"])), row["layers"]))


def is_pixels(row: Row) -> bool:
    """Whether the row is the low-level control."""
    return str(row["backbone"]) == PIXELS


def is_random(row: Row) -> bool:
    """Whether the network was not trained."""
    return untrained(row["weights"])


def _study(name: str, board: Board) -> Study:
    try:
        results = {result.key: result for result in read_results(board.folder)}
    except ResultsError:  # without per_image.parquet: what needs single images is left out
        results = {}
    return Study(name, board, results, board.about, read_recipe(board.folder))
