"""The cells of one backbone: load it, train all readouts on one stream, score all readouts on another."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.calibration import calibrate
from harness.data.images import read_image
from harness.distributed import is_mine
from harness.evaluation import Scores, evaluate
from harness.feature_cache import FeatureCache, plan_tiers
from harness.identity import cell_key, identity
from harness.memory import estimate
from harness.pictures import PictureRow, contact_sheet
from harness.readout import save_readout
from harness.results import CellResult
from harness.stream import Stream, StreamSettings
from harness.timing import Stopwatch
from harness.training import Classroom, Student
from harness.units import GIB, gib

if TYPE_CHECKING:
    from harness._backbone import LoadedBackbone
    from harness.data.dataset import Dataset
    from harness.plan import Cell, Group, Plan
    from harness.progress import Progress
    from harness.recipe import Recipe
    from harness.results import ResultsFolder

log = logging.getLogger("salprobe")


@dataclass
class GroupRun:
    """One group of a plan on real data."""

    plan: Plan
    group: Group
    train: Dataset
    test: Dataset
    results: ResultsFolder
    device: torch.device
    progress: Progress

    def run(self, seen: dict[str, str]) -> list[CellResult]:
        """All results of the group; `seen` maps the keys of earlier cells to their labels. May raise WeightsError."""
        ended = [self._result(cell, None, "skipped", cell.skip) for cell in self.group.cells if cell.skip]
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
        return [self._result(cell, None, "skipped", cell.skip or reason) for cell in self.group.cells]

    def _load(self) -> LoadedBackbone | None:
        if self.group.backbone is None:
            return None
        self.progress.say(f"{self.group.backbone.label}: loading weights {self.group.backbone.weights}")
        loaded = self.group.backbone.load(self.device)
        used = loaded.weights
        self.progress.say(
            f"{self.group.backbone.label}: weights {used.name} ({used.source}, sha256 {used.sha256[:12]})"
        )
        return loaded

    def _train_and_score(self, cells: dict[str, Cell], loaded: LoadedBackbone | None) -> list[CellResult]:
        recipe = self.plan.recipe
        watch, scoring_watch = Stopwatch(), Stopwatch()
        settings = stream_settings(recipe, self.plan.reader)
        training = Stream(self.train, settings, self.device, loaded, self.group.layers, self._cache(settings), watch)
        students = Classroom(cells, training).teach(self.progress)
        testing = Stream(self.test, settings, self.device, loaded, self.group.layers, None, scoring_watch)
        readouts = {s.key: s.readout for s in students if s.readout is not None and s.error is None}
        calibrations = {}
        if any(metric.scores == "log_density" for metric in self.plan.metrics):
            calibrations = calibrate(readouts, training, self.progress)
        scores = evaluate(
            readouts,
            testing,
            self.plan.metrics,
            self.progress,
            calibrations=calibrations,
            pictured=pictured_ids(self.test, recipe.pictures),
        )
        for skipped in (*training.skipped.values(), *testing.skipped.values()):
            self.progress.say(f"skipped image {skipped.id} ({skipped.file}): {skipped.reason}")
        phases = {f"train_{k}": v for k, v in watch.seconds.items()}
        phases |= {f"test_{k}": v for k, v in scoring_watch.seconds.items()}
        return [self._finished(student, scores.get(student.key), loaded, phases) for student in students]

    def _cache(self, settings: StreamSettings) -> FeatureCache | None:
        if self.group.backbone is None:
            return None
        recipe = self.plan.recipe
        peak = estimate(self.group, recipe, self.train, settings)
        self.progress.say(f"memory: about {gib(peak.total)} at the peak")
        budget = int(recipe.cache.budget_gib * GIB)
        placement = plan_tiers(peak.cache_wanted, budget, self.device, tiers=["host"])
        if placement is None:
            return None
        sizes = {row: self.train.size(row) for row in range(len(self.train)) if is_mine(row)}
        return FeatureCache(sizes, placement, device=self.device)

    def _finished(
        self, student: Student, scores: Scores | None, loaded: LoadedBackbone | None, phases: dict[str, float]
    ) -> CellResult:
        """A cell's result with its files written; phases of the shared passes are the same for the whole group."""
        error = student.error or (scores.error if scores is not None else None)
        result = self._result(student.cell, loaded, "failed" if error else "finished", error)
        result.seconds = {**student.watch.seconds, **phases}
        if student.readout is not None:
            result.info = student.readout.info
            result.readout = self.results.readout(result.key)
            save_readout(student.readout, result.readout)
        if scores is not None and not error:
            result.seconds |= scores.watch.seconds
            result.metrics = scores.means(self.plan.metrics)
            result.n_images, result.n_unscored = len(scores.rows), scores.n_unscored
            result.n_constant = scores.n_constant
            result.unscored, result.per_image = dict(scores.unscored), scores.rows
            result.picture = self._draw(result, scores)
        return result

    def _draw(self, result: CellResult, scores: Scores) -> Path | None:
        if not scores.predictions:
            return None
        files = {int(id_): file for id_, file in zip(self.test.ids, self.test.files, strict=True)}
        of_image = {row["image_id"]: row for row in result.per_image}
        rows = [
            PictureRow(
                image_id=id_,
                image=read_image(files[id_], id_).permute(1, 2, 0).numpy(),
                density=scores.densities[id_],
                prediction=prediction,
                scores={metric.name: of_image[id_][metric.name] for metric in self.plan.metrics},
            )
            for id_, prediction in scores.predictions.items()
        ]
        path = self.results.picture(result.key)
        path.parent.mkdir(exist_ok=True)
        title = f"{result.cell.dataset} · {result.label}"
        contact_sheet(title, rows, synthetic=self.test.synthetic).save(path, compress_level=1)
        return path

    def _identity(self, cell: Cell, loaded: LoadedBackbone | None) -> dict[str, Any]:
        return identity(cell, self.plan.recipe, self.train, self.test, loaded, self.plan.metrics)

    def _result(self, cell: Cell, loaded: LoadedBackbone | None, status: Any, error: str | None) -> CellResult:
        resolved = self._identity(cell, loaded)
        if status == "skipped":  # without weights there is nothing else to tell two of them apart
            resolved["skipped"] = cell.label
        weights = loaded.weights.name if loaded is not None else cell.weights
        return CellResult(cell, cell_key(resolved), resolved, status, error, weights)


def stream_settings(recipe: Recipe, reader: object) -> StreamSettings:
    """The stream's part of a recipe."""
    return StreamSettings(
        scale=recipe.input.scale,
        size=recipe.input.size,
        grid=recipe.grid,
        folds=recipe.folds,
        seed=recipe.seed,
        batch_size=recipe.batch_size,
        precision=recipe.precision,
        workers=recipe.workers,
        on_bad=getattr(reader, "on_bad", "error"),
    )


def pictured_ids(test: Dataset, n: int) -> list[int]:
    """The same few image ids for every cell: evenly spread over the held-out images."""
    n = min(n, len(test))
    return [int(test.ids[i * len(test) // n]) for i in range(n)]
