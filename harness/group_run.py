"""The cells of one backbone: load it, tell what each cell is, reuse what is finished, run the rest."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness.blame import blaming
from harness.distributed import gather, main_first, size
from harness.errors import PluginError
from harness.identity import cell_key, identity, training_key
from harness.part_run import PartRun
from harness.results import CellResult
from harness.trained_before import trained_before
from harness.unfinished import unfinished_parts

if TYPE_CHECKING:
    from pathlib import Path

    from harness._backbone import Backbone, LoadedBackbone
    from harness.album import GrowingAlbum
    from harness.cells import Cell, Group
    from harness.data.dataset import Dataset
    from harness.ended_cells import EndedCells
    from harness.plan import Plan
    from harness.progress import Progress
    from harness.results import ResultsFolder
    from harness.snapshots import Snapshots
    from harness.trained_before import Trained


@dataclass
class GroupRun:
    """One group of a plan on real data."""

    plan: Plan
    group: Group
    train: Dataset
    test: Dataset
    results: ResultsFolder | None
    """None in a process that does not write."""
    device: torch.device
    progress: Progress
    state: Path
    """Where the state of unfinished work is kept."""
    album: GrowingAlbum | None = None
    ended: EndedCells | None = None
    """What earlier runs into the same folder finished; None in a process that does not write."""

    def run(self, seen: dict[str, str]) -> list[CellResult]:
        """All results of the group; `seen` maps the keys of earlier cells to their labels. May raise WeightsError.

        What is finished in the results folder is reused, what an earlier run was in the middle of is gone on with, and
        what one trained the same way is only scored anew.
        """
        ended = [self._result(cell, None, cell.unrun, cell.skip) for cell in self.group.cells if cell.skip]
        if not self.group.runnable:
            return ended
        try:
            loaded = self._load()
        except PluginError as error:
            return ended + [self._result(cell, None, "failed", str(error)) for cell in self.group.runnable]
        cells: dict[str, Cell] = {}
        for cell in self.group.runnable:
            key = cell_key(self._identity(cell, loaded))
            if key in seen:
                ended.append(self._result(cell, loaded, "skipped", f"the same cell as {seen[key]}"))
            else:
                seen[key] = cell.label
                cells[key] = cell
        results = self._reopened(cells, loaded)
        missing = {key: cell for key, cell in cells.items() if key not in gather(set(results))[0]}
        for part, work in unfinished_parts(self.state, self._facts(), missing, self.plan.recipe.save_every_s, self.say):
            results |= self._run(part, loaded, work)
        return ended + [results[key] for key in cells if key in results]

    def _run(self, part: dict[str, Cell], loaded: LoadedBackbone | None, work: Snapshots) -> dict[str, CellResult]:
        """The results of some cells; all have failed where the network does."""
        group = dataclasses.replace(self.group, cells=tuple(part.values()))
        try:
            return PartRun(self, group, loaded, work).run(part)
        except PluginError as error:
            if size() > 1:
                raise  # the others may be elsewhere
            return {key: self.new_result(cell, loaded, str(error)) for key, cell in part.items()}

    def skipped(self, reason: str) -> list[CellResult]:
        """Every cell of the group as a row that says why it was not run."""
        return [self._result(cell, None, cell.unrun, cell.skip or reason) for cell in self.group.cells]

    def _load(self) -> LoadedBackbone | None:
        if self.group.backbone is None:
            return None
        self.progress.say(f"{self.group.backbone.label}: loading weights {self.group.backbone.weights}")
        backbone = self.group.backbone
        loaded = main_first(lambda: _loaded(backbone, self.device))
        used = loaded.weights
        self.progress.say(
            f"{self.group.backbone.label}: weights {used.name} ({used.source}, sha256 {used.sha256[:12]})"
        )
        return loaded

    def _reopened(self, cells: dict[str, Cell], loaded: LoadedBackbone | None) -> dict[str, CellResult]:
        """Those that are finished in the results folder; nothing in a process that does not write."""
        if self.ended is None:
            return {}
        found: dict[str, CellResult] = {}
        for key, cell in cells.items():
            identity = self._identity(cell, loaded)
            if (result := self.ended.reopen(key, cell, identity, self.plan.metrics)) is not None:
                found[key] = result
        if found:
            named = self.group.backbone.label if self.group.backbone is not None else "cells without a network"
            self.say(f"{named}: {len(found)} of {len(cells)} are finished and reused")
        return found

    def trained_before(self, cells: dict[str, Cell], loaded: LoadedBackbone) -> dict[str, Trained] | None:
        """Cells whose readouts are in the results folder; None in a process that does not write."""
        if self.ended is None:
            return None
        resolved = {key: self._identity(cell, loaded) for key, cell in cells.items()}
        return trained_before(self.ended.folder, self.ended.keys, resolved)

    def seed_of(self, cell: Cell, loaded: LoadedBackbone | None) -> int:
        """The same for cells that differ in how they are scored only."""
        return int(training_key(self._identity(cell, loaded))[:12], 16)

    def say(self, words: str) -> None:
        """A line on the terminal."""
        self.progress.say(words)

    def _facts(self) -> dict[str, Any]:
        """What must be the same for the state of an earlier run to be of use, beside the cells' keys."""
        return {
            "format": 1,
            "processes": size(),
            "device": self.device.type,
            "batch_size": self.plan.recipe.batch_size,
            "torch": torch.__version__,
        }

    def new_result(self, cell: Cell, loaded: LoadedBackbone | None, error: str | None) -> CellResult:
        """Of a cell that was run; `error` if it failed."""
        return self._result(cell, loaded, "failed" if error else "finished", error)

    def _identity(self, cell: Cell, loaded: LoadedBackbone | None) -> dict[str, Any]:
        return identity(cell, self.plan.recipe, self.train, self.test, loaded, self.plan.metrics)

    def _result(self, cell: Cell, loaded: LoadedBackbone | None, status: Any, error: str | None) -> CellResult:
        resolved = self._identity(cell, loaded)
        unknown = loaded is None and self.group.backbone is not None
        if cell.skip or status == "skipped" or unknown:  # without weights nothing else tells two of them apart
            resolved["skipped"] = cell.label
        weights = loaded.weights.name if loaded is not None else cell.weights
        return CellResult(cell, cell_key(resolved), resolved, status, error, weights)


def _loaded(backbone: Backbone, device: torch.device) -> LoadedBackbone:
    with blaming("the network cannot be loaded"):
        return backbone.load(device)
