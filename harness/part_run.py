"""Cells that share their passes: train all readouts on one stream, score all readouts on another, write their files."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from harness._plugin import as_entry
from harness.caching import open_cache
from harness.calibration import calibrate, earlier_calibrations
from harness.cell_pictures import keep_maps
from harness.distributed import gather, is_main
from harness.evaluation import Scores, evaluate
from harness.left_out import lost_words
from harness.machine import stream_settings
from harness.memory import estimate
from harness.readout_files import save_readout
from harness.results import CellResult
from harness.scoring_state import READOUTS, SCORES, ScoringState, keep_students, kept_students
from harness.stream import Stream
from harness.student import Student
from harness.timing import Stopwatch
from harness.trained_before import as_students, shared_seconds
from harness.training import Classroom
from harness.training_state import TrainingState
from harness.units import gib

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness._backbone import LoadedBackbone
    from harness.calibration import Calibration
    from harness.cells import Cell, Group
    from harness.feature_cache import FeatureCache
    from harness.group_run import GroupRun
    from harness.snapshots import Snapshots

log = logging.getLogger("salprobe")
T = TypeVar("T")


@dataclass
class PartRun:
    """Some cells of a group; what is under way is kept in `work`, and gone on with."""

    whole: GroupRun
    group: Group
    """Of these cells alone: no other layer is read for them."""
    loaded: LoadedBackbone | None
    work: Snapshots
    train_watch: Stopwatch = field(default_factory=Stopwatch)
    test_watch: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        self.recipe, self.progress = self.whole.plan.recipe, self.whole.progress
        plan, device = self.whole.plan, self.whole.device
        self.settings = stream_settings(self.recipe, plan.reader, device)
        self.test_settings = stream_settings(self.recipe, plan.test_reader, device, held_out=True)

    def run(self, cells: dict[str, Cell]) -> dict[str, CellResult]:
        """The results by key, their files on disk; empty in a process that does not write."""
        training, testing = self._stream(), self._testing()
        for words in dict.fromkeys([training.distortion(), testing.distortion()]):
            if words:
                self.progress.say(words)
        students, calibrations = self._taught(cells, training)
        readouts = {s.key: s.readout for s in students if s.readout is not None and s.error is None}
        scores = evaluate(
            readouts,
            testing,
            self.whole.plan.metrics,
            self.progress,
            calibrations=calibrations,
            keep_maps=self.recipe.pictures > 0,
            limit_s=self.recipe.cell_timeout_s,
            state=ScoringState(self.work),
        )
        self._say_lost(testing, students)
        results = {s.key: self._ended(s, scores.get(s.key)) for s in students} if is_main() else {}
        gather(None)  # the state goes when the results are there
        self.work.remove_all()
        return results

    def _taught(self, cells: dict[str, Cell], training: Stream) -> tuple[list[Student], dict[str, Calibration]]:
        """Readouts that are trained and calibrated; by an earlier run, if it came so far."""
        if (students := self._kept(cells, training)) is not None:
            return students, earlier_calibrations({s.key: s.readout for s in students if s.readout}, training)
        known = self._trained_before(cells)
        if untaught := {key: cell for key, cell in cells.items() if key not in known}:
            room, state = self._classroom(untaught, training)
            training.cache = self._cache()
            known |= {student.key: student for student in room.teach(self.progress, state)}
        students = [known[key] for key in cells]
        calibrations = self._calibrated(students, training)
        if training.cache is not None:
            training.cache.discard()
        self._say_lost(training, [known[key] for key in untaught])
        keep_students(students, training, self.work)
        return students, calibrations

    def _calibrated(self, students: Sequence[Student], training: Stream) -> dict[str, Calibration]:
        """Where a metric needs it: as their readouts tell, or fitted."""
        if not any(metric.scores == "log_density" for metric in self.whole.plan.metrics):
            return {}
        readouts = {s.key: s.readout for s in students if s.readout is not None and s.error is None}
        known = earlier_calibrations(readouts, training)
        if new := {key: readout for key, readout in readouts.items() if key not in known}:
            training.refill(self.progress)
            known |= calibrate(new, training, self.progress, self.recipe.cell_timeout_s)
        return known

    def _trained_before(self, cells: dict[str, Cell]) -> dict[str, Student]:
        """Cells of which the results folder has the readout, of a cell that was only scored otherwise."""
        if self.loaded is None:
            return {}
        found = self.whole.trained_before(cells, self.loaded)
        if known := as_students(found, cells):
            self.progress.say(f"{len(known)} of {len(cells)} cells: trained by an earlier run, only to be scored anew")
            self.train_watch.seconds.update(shared_seconds(list((found or {}).values())))
        return {student.key: student for student in known}

    def _kept(self, cells: dict[str, Cell], training: Stream) -> list[Student] | None:
        """As an earlier run trained them; None where it did not come so far, or left nothing of them that can be read.

        All processes alike. Scores of readouts that are gone go with them.
        """
        found = None
        if READOUTS in self.work.common():
            found = self._restored(lambda: kept_students(cells, training, self.work), training)
        if found is None:
            self.work.remove([READOUTS, SCORES])
        return found

    def _restored(self, restore: Callable[[], T], training: Stream) -> T | None:
        """What an earlier run left; with a word None, and nothing left, where that fails in any process."""
        found, error = None, None
        try:
            found = restore()
        except Exception as caught:  # whatever a damaged file makes torch raise
            error = f"{type(caught).__name__}: {caught}"
            log.debug("the state in %s cannot be used", self.work.folder, exc_info=caught)
        errors = [words for words in gather(error) if words]
        if not errors:
            return found
        self.progress.say(f"the state of an earlier run cannot be used ({errors[0]}): its cells begin anew")
        self.work.remove(self.work.names())
        training.skipped.clear()
        training.at_once.clear()
        return None

    def _say_lost(self, stream: Stream, students: Sequence[Student]) -> None:
        """Images that could not be read when their turn came: on the terminal, and with every cell's results."""
        lost = [image for images in gather(list(stream.skipped.values())) for image in images]
        for image in lost:
            self.progress.say(f"skipped image {image.id} ({image.file}): {image.reason}")
        for student in students:
            if lost and student.readout is not None:
                info = student.readout.info
                info["warnings"] = [*info.get("warnings", ()), lost_words(lost, stream.dataset.split)]

    def _classroom(self, cells: dict[str, Cell], training: Stream) -> tuple[Classroom, TrainingState]:
        """As an earlier run left it, or a new one; all processes alike."""
        room = self._room(cells, training)
        state = TrainingState(room, self.work)
        if self._restored(state.restore, training) is not None:
            if room.passes or state.turn >= 0:
                images = training.n_until(room.passes, state.turn)
                inside = f"in pass {room.passes + 1}, after {images} of {training.n_mine} images"
                self.progress.say(f"training goes on {inside if images else f'after {room.passes} whole passes'}")
            return room, state
        room = self._room(cells, training)
        return room, TrainingState(room, self.work)

    def _room(self, cells: dict[str, Cell], training: Stream) -> Classroom:
        seeds = {key: self.whole.seed_of(cell, self.loaded) for key, cell in cells.items()}
        return Classroom(cells, training, limit_s=self.recipe.cell_timeout_s, seeds=seeds)

    def _stream(self) -> Stream:
        whole, rounding = self.whole, self.recipe.cache.precision
        layers = self.group.layers
        return Stream(whole.train, self.settings, whole.device, self.loaded, layers, None, rounding, self.train_watch)

    def _testing(self) -> Stream:
        whole = self.whole
        layers = self.group.layers
        return Stream(whole.test, self.test_settings, whole.device, self.loaded, layers, watch=self.test_watch)

    def _cache(self) -> FeatureCache | None:
        if self.loaded is None:
            return None
        layers, train, test = self.group.layers, self.whole.train, self.whole.test
        peak = estimate(self.group, self.recipe, train, test, self.settings, self.whole.device)
        self.progress.say(f"memory: about {gib(peak.total)} at the peak, {peak.cache}")
        cache = open_cache(self.recipe.cache, peak.cache, layers, train, self.settings, self.loaded, self._made_by())
        if cache is not None and cache.complete:
            self.progress.say("training features: from the kept cache of an earlier run")
        return cache

    def _made_by(self) -> list[object]:
        """What cells' keys know of the backbone beside its weights: its label, the plugin files behind it."""
        assert self.group.backbone is not None
        files = {file for cell in self.group.cells for file in cell.plugins}
        return [self.group.backbone.label, sorted(map(list, files))]

    def _ended(self, student: Student, scores: Scores | None) -> CellResult:
        """A cell's result with its files written; phases of the shared passes are the same for the whole part."""
        whole = self.whole
        error = student.error or (scores.error if scores is not None else None)
        assert whole.results is not None
        result = whole.new_result(student.cell, self.loaded, error)
        phases = {f"train_{k}": v for k, v in self.train_watch.seconds.items()}
        phases |= {f"test_{k}": v for k, v in self.test_watch.seconds.items()}
        result.seconds = {**student.watch.seconds, **phases}
        network = as_entry(self.group.backbone) if self.group.backbone is not None else None
        folder = whole.results.open_cell(result, network, whole.train.sizes)
        if student.readout is not None:
            if scores is not None and (shares := scores.layer_shares.shares()):
                student.readout.info["layer_shares"] = shares
            result.info = student.readout.info
            save_readout(student.readout, folder)
        if scores is not None and not error:
            result.seconds |= scores.watch.seconds
            result.metrics = scores.means(whole.plan.metrics)
            result.n_images, result.n_unscored = len(scores.per_image), len(scores.per_image.unscored)
            result.n_constant = scores.n_constant
            result.unscored, result.per_image = dict(scores.per_image.reasons()), scores.per_image
            if whole.album is not None:
                keep_maps(result, scores.maps, whole.album, self.recipe)
        if whole.album is not None:
            whole.album.close()
        whole.results.close_cell(result)
        return result
