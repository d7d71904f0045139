"""The road once, end to end: plan -> training passes -> evaluation pass -> results -> observers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.album import GrowingAlbum
from harness.cell_pictures import keep_extremes
from harness.crossing import facts, naming_its_place, shared_images, trained_elsewhere
from harness.distributed import gather, is_main, main_first, size
from harness.environment import describe_environment
from harness.errors import DataError, WeightsError
from harness.ground_truth import POOL_RULE
from harness.group_run import GroupRun
from harness.machine import choose_device, settled
from harness.results import CellResult, Observer, ResultsFolder, RunRecord
from harness.shown import shown
from harness.uncertainty import Uncertainty

if TYPE_CHECKING:
    from harness.data.dataset import Dataset, Split
    from harness.data.source import Source
    from harness.plan import Plan
    from harness.progress import Progress
    from harness.recipe import Recipe

log = logging.getLogger("salprobe")
_SHOWN = 20
"""Skipped images that are named on the terminal; a choice of few observers can leave out thousands."""


@dataclass
class Outcome:
    """What a run leaves behind."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    """Cells by status."""


def run(plan: Plan, out: Path, progress: Progress, observers: Sequence[Observer] = ()) -> Outcome:
    """Run every cell of a plan and write `<out>/<recipe>/`; raises SalprobeError where nothing can be run.

    Every process of a run calls this; the main one writes and tells the observers.
    """
    device = choose_device(plan.recipe.device)
    # what the main process' machine can do goes for all
    plan = dataclasses.replace(plan, recipe=gather(settled(plan.recipe, device))[0])
    train, test = read_splits(plan, progress)
    folder = out.resolve() / plan.recipe.name
    results = ResultsFolder(folder) if is_main() else None
    album = GrowingAlbum(folder, test) if results is not None else None
    groups = [GroupRun(plan, group, train, test, results, device, progress, album) for group in plan.groups]
    if results is None or album is None:
        return _help(groups, folder)
    results.write_recipe(plan.recipe)
    record = RunRecord(
        recipe=plan.recipe,
        folder=folder,
        matrix_id=matrix_id(plan.recipe, train, test),
        dataset=about(train, test, sources=(plan.reader.cited, plan.test_reader.cited)),
        environment={**describe_environment(), "processes": size()},
    )
    results.write_record(record)
    return _Journey(groups, results, list(observers), record, Uncertainty(plan.metrics, test.digest), album).go()


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
            self.uncertainty.add(ended)
            for result in ended:
                self.results.add(result)
                outcome.counts[result.status] += 1
            self.results.flush()
            self.album.close()
            self.results.write_pairs(self.uncertainty.pairs(self.record.recipe.compare))
            for result in ended:
                self._tell(result)
        self._fill_album()
        backbones = [group for group in self.groups if group.group.backbone is not None]
        if no_weights and len(no_weights) == len(backbones):
            raise no_weights[0]

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


def read_splits(plan: Plan, progress: Progress) -> tuple[Dataset, Dataset]:
    """Training and held-out images; says where they are in part the same. Raises DataError for an empty split."""
    train, test = read_split(plan, "train", progress), read_split(plan, "test", progress)
    if shared := shared_images(train, test):
        progress.say(f"warning: {shared} of the {len(test)} held-out images are training images, too")
    return train, test


def read_split(plan: Plan, split: Split, progress: Progress) -> Dataset:
    """A split, cut to the recipe's limit; raises DataError for an empty one."""
    reader = plan.reader_of(split)
    progress.say(f"reading {reader.label}, {split} split")
    with naming_its_place(plan.recipe, split):
        main_first(lambda: reader.prepare(split, progress))
        dataset = main_first(lambda: reader.read(split))
    _say_left_out(dataset, progress)
    if len(dataset) == 0:
        raise DataError(f"{dataset.name}: the {split} split has no usable image")
    if plan.recipe.limit is not None:
        dataset = dataset.take(range(min(plan.recipe.limit, len(dataset))))
    points = len(dataset.row)
    progress.say(f"{dataset.name} {split}: {len(dataset)} images, {points} {dataset.points_kind} points")
    return dataset


def _say_left_out(dataset: Dataset, progress: Progress) -> None:
    for skipped in dataset.skipped[:_SHOWN]:
        progress.say(f"skipped image {skipped.id} ({skipped.file}): {skipped.reason}")
    if (more := len(dataset.skipped) - _SHOWN) > 0:
        progress.say(f"... and {more} more skipped images, all of them in run.json")
    if dataset.dropped:
        every = f"{dataset.dropped} of {dataset.dropped + len(dataset.row)} points"
        progress.say(f"{dataset.name} {dataset.split}: {every} lie outside their image and are left out")


def matrix_id(recipe: Recipe, *splits: Dataset) -> str:
    """The same for every run of the same recipe on the same data."""
    how = dict.fromkeys(("tracking", "device", "workers", "batch_size", "compile", "cache", "compare", "plugins"), True)
    tested: Any = {"cite"} if recipe.crosses else True
    asked = recipe.model_dump(mode="json", exclude={**how, "dataset": {"cite"}, "test_dataset": tested})
    return hashlib.sha256(json.dumps([asked, *(split.digest for split in splits)]).encode()).hexdigest()[:12]


def about(*splits: Dataset, sources: Sequence[Source | None]) -> dict[str, Any]:
    """The dataset as it is recorded with results, a source for each split; the last split is the scored one."""
    train, test = splits[0], splits[-1]
    shared = shared_images(train, test) if train is not test else 0
    elsewhere = trained_elsewhere(train, test)
    if elsewhere:
        elsewhere["trained_on"]["source"] = _stated(sources[0])
    return {
        **facts(test),
        "synthetic": train.synthetic or test.synthetic,
        "source": _stated(sources[-1]),
        **elsewhere,
        **({"test_images_trained_on": shared} if shared else {}),
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
        "skipped": [
            {"id": s.id, "file": shown(s.file), "reason": shown(s.reason)} for split in splits for s in split.skipped
        ],
    }


def _stated(source: Source | None) -> dict[str, str] | None:
    return None if source is None else source.stated
