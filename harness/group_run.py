"""The cells of one backbone: load it, train all readouts on one stream, score all readouts on another."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness._plugin import as_entry
from harness.caching import open_cache
from harness.calibration import calibrate
from harness.cell_pictures import keep_maps
from harness.distributed import gather, is_main, main_first
from harness.evaluation import Scores, evaluate
from harness.feature_cache import FeatureCache
from harness.identity import cell_key, identity
from harness.machine import stream_settings
from harness.memory import estimate
from harness.readout import save_readout
from harness.results import CellResult
from harness.stream import Stream, StreamSettings
from harness.timing import Stopwatch
from harness.training import Classroom, Student
from harness.units import gib

if TYPE_CHECKING:
    from harness._backbone import LoadedBackbone
    from harness.album import GrowingAlbum
    from harness.cells import Cell, Group
    from harness.data.dataset import Dataset
    from harness.plan import Plan
    from harness.progress import Progress
    from harness.results import ResultsFolder

log = logging.getLogger("salprobe")


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
    album: GrowingAlbum | None = None

    def run(self, seen: dict[str, str]) -> list[CellResult]:
        """All results of the group; `seen` maps the keys of earlier cells to their labels. May raise WeightsError."""
        ended = [self._result(cell, None, cell.unrun, cell.skip) for cell in self.group.cells if cell.skip]
        if not self.group.runnable:
            return ended
        loaded = self._load()
        cells: dict[str, Cell] = {}
        for cell in self.group.runnable:
            key = cell_key(self._identity(cell, loaded))
            if key in seen:
                ended.append(self._result(cell, loaded, "skipped", f"the same cell as {seen[key]}"))
            else:
                seen[key] = cell.label
                cells[key] = cell
        return ended + self._train_and_score(cells, loaded)

    def skipped(self, reason: str) -> list[CellResult]:
        """Every cell of the group as a row that says why it was not run."""
        return [self._result(cell, None, cell.unrun, cell.skip or reason) for cell in self.group.cells]

    def _load(self) -> LoadedBackbone | None:
        if self.group.backbone is None:
            return None
        self.progress.say(f"{self.group.backbone.label}: loading weights {self.group.backbone.weights}")
        backbone = self.group.backbone
        loaded = main_first(lambda: backbone.load(self.device))
        used = loaded.weights
        self.progress.say(
            f"{self.group.backbone.label}: weights {used.name} ({used.source}, sha256 {used.sha256[:12]})"
        )
        return loaded

    def _train_and_score(self, cells: dict[str, Cell], loaded: LoadedBackbone | None) -> list[CellResult]:
        recipe = self.plan.recipe
        watch, scoring_watch = Stopwatch(), Stopwatch()
        settings = stream_settings(recipe, self.plan.reader, self.device)
        test_settings = stream_settings(recipe, self.plan.test_reader, self.device)
        cache = self._cache(settings, loaded)
        rounding = recipe.cache.precision
        training = Stream(self.train, settings, self.device, loaded, self.group.layers, cache, rounding, watch)
        testing = Stream(self.test, test_settings, self.device, loaded, self.group.layers, watch=scoring_watch)
        for words in dict.fromkeys([training.distortion(), testing.distortion()]):
            if words:
                self.progress.say(words)
        students = Classroom(cells, training, crosses=recipe.crosses).teach(self.progress)
        readouts = {s.key: s.readout for s in students if s.readout is not None and s.error is None}
        calibrations = {}
        if any(metric.scores == "log_density" for metric in self.plan.metrics):
            calibrations = calibrate(readouts, training, self.progress)
        if cache is not None:
            cache.discard()
        scores = evaluate(
            readouts,
            testing,
            self.plan.metrics,
            self.progress,
            calibrations=calibrations,
            keep_maps=recipe.pictures > 0,
        )
        for skipped in gather([*training.skipped.values(), *testing.skipped.values()]):
            for image in skipped:
                self.progress.say(f"skipped image {image.id} ({image.file}): {image.reason}")
        if not is_main():
            return []
        phases = {f"train_{k}": v for k, v in watch.seconds.items()}
        phases |= {f"test_{k}": v for k, v in scoring_watch.seconds.items()}
        return [self._finished(student, scores.get(student.key), loaded, phases) for student in students]

    def _cache(self, settings: StreamSettings, loaded: LoadedBackbone | None) -> FeatureCache | None:
        if loaded is None:
            return None
        recipe, layers = self.plan.recipe, self.group.layers
        peak = estimate(self.group, recipe, self.train, self.test, settings, self.device)
        self.progress.say(f"memory: about {gib(peak.total)} at the peak, {peak.cache}")
        cache = open_cache(recipe.cache, peak.cache, layers, self.train, settings, loaded)
        if cache is not None and cache.complete:
            self.progress.say("training features: from the kept cache of an earlier run")
        return cache

    def _finished(
        self, student: Student, scores: Scores | None, loaded: LoadedBackbone | None, phases: dict[str, float]
    ) -> CellResult:
        """A cell's result with its files written; phases of the shared passes are the same for the whole group."""
        error = student.error or (scores.error if scores is not None else None)
        assert self.results is not None
        result = self._result(student.cell, loaded, "failed" if error else "finished", error)
        result.seconds = {**student.watch.seconds, **phases}
        network = as_entry(self.group.backbone) if self.group.backbone is not None else None
        folder = self.results.open_cell(result, network, self.train.sizes)
        if student.readout is not None:
            if scores is not None and (shares := scores.layer_shares.shares()):
                student.readout.info["layer_shares"] = shares
            result.info = student.readout.info
            save_readout(student.readout, folder)
        if scores is not None and not error:
            result.seconds |= scores.watch.seconds
            result.metrics = scores.means(self.plan.metrics)
            result.n_images, result.n_unscored = len(scores.per_image), len(scores.per_image.unscored)
            result.n_constant = scores.n_constant
            result.unscored, result.per_image = dict(scores.per_image.reasons()), scores.per_image
            if self.album is not None:
                keep_maps(result, scores.maps, self.album, self.plan.recipe)
        return result

    def _identity(self, cell: Cell, loaded: LoadedBackbone | None) -> dict[str, Any]:
        return identity(cell, self.plan.recipe, self.train, self.test, loaded, self.plan.metrics)

    def _result(self, cell: Cell, loaded: LoadedBackbone | None, status: Any, error: str | None) -> CellResult:
        resolved = self._identity(cell, loaded)
        if cell.skip or status == "skipped":  # without weights there is nothing else to tell two of them apart
            resolved["skipped"] = cell.label
        weights = loaded.weights.name if loaded is not None else cell.weights
        return CellResult(cell, cell_key(resolved), resolved, status, error, weights)
