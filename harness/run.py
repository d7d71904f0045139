"""The road once, end to end: plan -> training passes -> evaluation pass -> results -> observers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.album import GrowingAlbum
from harness.cell_pictures import keep_extremes
from harness.crossing import facts, trained_elsewhere
from harness.determinism import deterministic
from harness.distributed import gather, is_main, main_only, size
from harness.ended_cells import EndedCells, supersede_all
from harness.environment import describe_environment
from harness.errors import WeightsError
from harness.files import remove_leftovers
from harness.ground_truth import POOL_RULE
from harness.group_run import GroupRun
from harness.left_out import recorded
from harness.lock import locked
from harness.machine import choose_device, settled
from harness.overlap import refuse_overlap
from harness.overwrite import Overwrite, refuse_results
from harness.ranking import lower_ones
from harness.results import CellResult, Observer, ResultsFolder, RunRecord
from harness.snapshots import STATE
from harness.splits import read_splits
from harness.uncertainty import Uncertainty

if TYPE_CHECKING:
    from harness.data.dataset import Dataset
    from harness.data.source import Source
    from harness.plan import Plan
    from harness.progress import Progress
from harness.recipe import Recipe

log = logging.getLogger("salprobe")
_MACHINE = ("tracking", "device", "workers", "batch_size", "compile", "cache", "save_every_s", "cell_timeout_s")
UNCOUNTED = (*_MACHINE, "compare", "plugins", "allow_overlap")
"""Keys of a recipe that leave a matrix what it is."""
_NAMED = 3
"""Cells that are named where several are not asked for any more."""


@dataclass
class Outcome:
    """What a run leaves behind."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    """Cells by status."""
    reused: set[str] = field(default_factory=set)
    """The keys of cells that an earlier run had finished."""


@deterministic()
def run(
    plan: Plan,
    out: Path,
    progress: Progress,
    observers: Sequence[Observer] = (),
    overwrite: Overwrite = Overwrite.MISSING,
) -> Outcome:
    """Run every cell of a plan and write `<out>/<recipe>/`; raises SalprobeError where nothing can be run.

    Every process of a run calls this; the main one writes and tells the observers. What an earlier run into the same
    folder finished is reused, what it left unfinished is gone on with, unless `overwrite` says otherwise. BusyError
    where another run is writing there.
    """
    folder = out.resolve() / plan.recipe.name
    with ExitStack() as held:
        main_only(lambda: _enter(held, folder, overwrite))
        return _run(plan, folder, progress, observers, overwrite)


def _enter(held: ExitStack, folder: Path, overwrite: Overwrite) -> None:
    held.enter_context(locked(folder))
    if overwrite is Overwrite.NEVER:
        refuse_results(folder)
    remove_leftovers(folder)


def _run(plan: Plan, folder: Path, progress: Progress, observers: Sequence[Observer], overwrite: Overwrite) -> Outcome:
    device = choose_device(plan.recipe.device)
    # what the main process' machine can do goes for all
    plan = dataclasses.replace(plan, recipe=gather(settled(plan.recipe, device))[0])
    train, test = read_splits(plan, progress)
    overlap = refuse_overlap(train, test, plan.recipe.allow_overlap)
    state = folder / STATE
    if overwrite is Overwrite.ALL:
        shutil.rmtree(state, ignore_errors=True)
        gather(None)  # before anybody keeps a new one
    results = ResultsFolder(folder) if is_main() else None
    if overwrite is Overwrite.ALL and is_main():
        supersede_all(folder)
    ended = EndedCells(folder) if is_main() else None
    album = GrowingAlbum(folder, test) if is_main() else None
    groups = [
        GroupRun(plan, group, train, test, results, device, progress, state, album, ended) for group in plan.groups
    ]
    if results is None or album is None or ended is None:
        return _help(groups, folder)
    results.write_recipe(plan.recipe)
    record = RunRecord(
        recipe=plan.recipe,
        folder=folder,
        matrix_id=matrix_id(plan.recipe, train, test),
        dataset=about(
            train,
            test,
            sources=(plan.reader.cited, plan.test_reader.cited),
            overlap=overlap.record(plan.recipe.allow_overlap),
        ),
        environment={**describe_environment(), "processes": size()},
        lower_is_better=lower_ones(plan.recipe.metrics),
    )
    results.write_record(record)
    others = ended.rows([train.digest, test.digest])
    uncertainty = Uncertainty(plan.metrics, test.digest)
    return _Journey(groups, results, list(observers), record, uncertainty, album, ended, others, progress).go()


def _help(groups: Sequence[GroupRun], folder: Path) -> Outcome:
    """What a process does that does not write: its share of every group, in the same order as the main one."""
    seen: dict[str, str] = {}
    for group in groups:
        with suppress(WeightsError):
            group.run(seen)
    return Outcome(folder)


@dataclass
class _Journey:
    """The groups of a run one after the other, with everybody told of every result."""

    groups: list[GroupRun]
    results: ResultsFolder
    observers: list[Observer]
    record: RunRecord
    uncertainty: Uncertainty
    album: GrowingAlbum
    ended: EndedCells
    others: list[dict[str, Any]]
    """Rows of cells that earlier runs finished: shown until this one comes to them, then left out or their own."""
    progress: Progress

    def go(self) -> Outcome:
        outcome = Outcome(self.results.folder)
        status: Literal["finished", "failed", "interrupted"] = "failed"
        for observer in self.observers:
            observer.started(self.record)
        try:
            self._run_groups(outcome)
            status = "failed" if outcome.counts["failed"] else "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            for observer in self.observers:
                observer.ended(status)
        return outcome

    def _run_groups(self, outcome: Outcome) -> None:
        seen: dict[str, str] = {}
        no_weights: list[WeightsError] = []
        for group in self.groups:
            try:
                ended = group.run(seen)
            except WeightsError as error:  # that backbone's cells are skipped; the rest of the matrix runs
                log.warning("%s", error)
                no_weights.append(error)
                ended = group.skipped(str(error))
            self._take(ended, outcome, last=group is self.groups[-1], whole=not no_weights)
        self._fill_album()
        backbones = [group for group in self.groups if group.group.backbone is not None]
        if no_weights and len(no_weights) == len(backbones):
            raise no_weights[0]

    def _take(self, ended: Sequence[CellResult], outcome: Outcome, *, last: bool, whole: bool) -> None:
        """The results of a group, into the tables and to the observers; after the last one nothing is unfinished."""
        self.uncertainty.add(ended)
        for result in ended:
            self.results.add(result)
            outcome.counts[result.status] += 1
        outcome.reused |= {result.key for result in ended} & self.ended.reused
        if last or any(result.key not in self.ended.reused for result in ended):
            # where weights are missing it is not known whose rows these are
            self.results.flush(() if last and whole else self.others)
            self.results.write_pairs(self.uncertainty.pairs(self.record.recipe.compare))
        self.album.close()
        if last and whole:
            self._tidy()
        for result in ended:
            self._tell(result)

    def _tidy(self) -> None:
        """Say what the folder holds beside this recipe's cells; let go of the state."""
        if gone := self.ended.left_over():
            named = ", ".join(gone[:_NAMED]) + (f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else "")
            self.progress.say(
                f"{len(gone)} finished cells of {self.results.folder / 'cells'} are not part of this recipe: "
                f"their files stay, the tables leave them out ({named})"
            )
        shutil.rmtree(self.results.folder / STATE, ignore_errors=True)

    def _fill_album(self) -> None:
        """For each metric the images that are the extremes of the cell which it ranks first: a report may show them."""
        best = {metric: self.uncertainty.best(metric) for metric in self.uncertainty.metrics}
        for metric, result in best.items():
            if result is not None and self.record.recipe.pictures:
                keep_extremes(result, [metric], self.album)
        self.album.close()

    def _tell(self, result: CellResult) -> None:
        for observer in self.observers:
            observer.cell_ended(result)


def matrix_id(recipe: Recipe, *splits: Dataset) -> str:
    """The same for every run of the same recipe on the same data, wherever these lie."""
    how, where = dict.fromkeys(UNCOUNTED, True), {"cite", "root"}
    tested: Any = where if recipe.crosses else True
    asked = recipe.model_dump(mode="json", exclude={**how, "dataset": where, "test_dataset": tested})
    return hashlib.sha256(json.dumps([asked, *(split.digest for split in splits)]).encode()).hexdigest()[:12]


def about(
    *splits: Dataset, sources: Sequence[Source | None] = (None,), overlap: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The dataset as it is recorded with results, a source a split; the last split is the one that was scored."""
    train, test = splits[0], splits[-1]
    elsewhere = trained_elsewhere(train, test)
    if elsewhere:
        elsewhere["trained_on"]["source"] = _stated(sources[0])
    return {
        **facts(test),
        "synthetic": train.synthetic or test.synthetic,
        "source": _stated(sources[-1]),
        **elsewhere,
        **{
            split.split: {
                "images": len(split),
                "points": len(split.row),
                "dropped_points": split.dropped,
                "digest": split.digest,
            }
            for split in splits
        },
        "pool_of_other_images": {"images": len(test), "points": len(test.row), "rule": POOL_RULE},
        **({"overlap": overlap} if overlap else {}),
        "skipped": recorded(splits),
    }


def _stated(source: Source | None) -> dict[str, str] | None:
    return None if source is None else source.stated
