"""Cross-validation over images: a run for every fold that a recipe lists, and all folds together as one result.

Every image is held out in one fold, so a cell's scores of all folds are those of one matrix on all images: pooled,
they get intervals, shares and paired tests as any run's do. `<out>/<recipe>-fold0`, ... are whole runs of their own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.environment import describe_environment
from harness.errors import RecipeError
from harness.files import replace
from harness.overlap import merged
from harness.recipe import DatasetEntry, Recipe
from harness.results import FOLDS, CellResult, Observer, ResultsFolder, RunRecord
from harness.uncertainty import Uncertainty

if TYPE_CHECKING:
    from harness.metrics import Metric

PLACE = "dataset.split.fold"
Name = tuple[str, str | None]
"""A cell's label, and the digest of its weights: untrained ones of several seeds are called the same."""


@dataclass
class Fold:
    """One fold's run, as an observer of it."""

    number: int
    record: RunRecord | None = None
    results: dict[Name, CellResult] = field(default_factory=dict)
    """By what is the same in every fold; of several alike the one that was run."""

    def started(self, run: RunRecord) -> None:
        """Keep what all of its cells share."""
        self.record = run

    def cell_ended(self, result: CellResult) -> None:
        """Keep it."""
        name = _name(result)
        known = self.results.get(name)
        if known is None or known.status == "skipped":
            self.results[name] = result

    def ended(self, status: str) -> None:
        """Nothing is open."""


def _name(result: CellResult) -> Name:
    weights = result.identity.get("weights")
    return result.label, weights["sha256"] if weights else None


def by_fold(recipe: Recipe) -> dict[int, Recipe]:
    """A recipe for every fold that `split: {folds: 5, fold: [0, 1, ...]}` (or `fold: all`) lists; else nothing.

    Raises RecipeError for a list that makes no sense.
    """
    split = recipe.dataset.parameters.get("split")
    asked = split.get("fold") if isinstance(split, dict) else None
    if asked != "all" and not isinstance(asked, list):
        return {}
    assert isinstance(split, dict)
    folds = split.get("folds")
    if not isinstance(folds, int):
        raise RecipeError(f"{PLACE}: several folds of how many? say it with dataset.split.folds")
    chosen = list(range(folds)) if asked == "all" else asked
    if not chosen or not all(isinstance(fold, int) and 0 <= fold < folds for fold in chosen):
        raise RecipeError(f"{PLACE}: a list of some of 0 .. {folds - 1}, or all; got {asked}")
    if len(set(chosen)) < len(chosen):
        raise RecipeError(f"{PLACE}: a fold is listed twice in {asked}")
    if recipe.crosses:
        raise RecipeError(f"{PLACE}: folds hold out images of `dataset`; leave out test_dataset, or run one fold")
    return {fold: _one(recipe, fold) for fold in chosen}


def _one(recipe: Recipe, fold: int) -> Recipe:
    document = recipe.dataset.model_dump(mode="json", by_alias=True)
    document["split"] = {**document["split"], "fold": fold}
    name = f"{recipe.name}-fold{fold}"
    return recipe.model_copy(update={"name": name, "dataset": DatasetEntry.model_validate(document)})


def pool(
    recipe: Recipe, folds: Sequence[Fold], metrics: Sequence[Metric], out: Path, observers: Sequence[Observer] = ()
) -> Path:
    """Write `<out>/<recipe>/`, the folds' cells as one matrix, and FOLDS with each fold's means; returns the folder."""
    results = ResultsFolder(out.resolve() / recipe.name)
    records = [fold.record for fold in folds if fold.record is not None]
    recipe = recipe.model_copy(update={"precision": records[0].recipe.precision})
    matrix, lower = _hash(*(r.matrix_id for r in records))[:12], records[0].lower_is_better
    record = RunRecord(recipe, results.folder, matrix, _about(records), describe_environment(), lower)
    results.write_recipe(recipe)
    results.write_record(record)
    pooled = [_pooled([fold.results[name] for fold in folds], folds) for name in _everywhere(folds)]
    uncertainty = Uncertainty(metrics, record.dataset["test"]["digest"])
    uncertainty.add(pooled)
    for result in pooled:
        results.open_cell(result, None)
        results.close_cell(result)
        results.add(result)
    results.flush()
    results.write_pairs(uncertainty.pairs(recipe.compare))
    _write_folds(results.folder, pooled, folds)
    _tell(observers, record, pooled)
    return results.folder


def _everywhere(folds: Sequence[Fold]) -> Iterator[Name]:
    """The cells that every fold has; a run of the same recipe has the same ones."""
    return (name for name in folds[0].results if all(name in fold.results for fold in folds))


def _pooled(parts: Sequence[CellResult], folds: Sequence[Fold]) -> CellResult:
    """One cell's results of all folds as one; it has finished where it has finished in each."""
    first = parts[0]
    unfinished = {fold.number: part for fold, part in zip(folds, parts, strict=True) if part.status != "finished"}
    worst = next(iter(sorted(unfinished.values(), key=lambda part: part.status)), first)
    words = dict.fromkeys(f"fold {number}: {part.error}" for number, part in unfinished.items())
    found = CellResult(
        dataclasses.replace(first.cell, dataset=f"{first.cell.dataset}, {len(parts)} folds"),
        _hash(*(part.key for part in parts))[:16],
        {"weights": first.identity.get("weights"), "folds": [part.key for part in parts]},
        worst.status,
        "; ".join(words) or None,
        first.weights,
    )
    found.seconds = dict(sum((Counter(part.seconds) for part in parts), Counter()))
    warnings = [
        f"fold {fold.number}: {warning}"
        for fold, part in zip(folds, parts, strict=True)
        for warning in part.info.get("warnings", [])
    ]
    flags = dict.fromkeys(str(one) for part in parts for one in part.info.get("flags", ()))
    found.info = {name: told for name, told in (("warnings", warnings), ("flags", list(flags))) if told}
    if not unfinished:
        ids = [int(id_) for part in parts for id_ in part.per_image.ids]
        found.per_image = first.per_image.merged([part.per_image for part in parts[1:]], ids)
        found.metrics = {metric: found.per_image.mean(metric) for metric in first.metrics}
        found.n_images, found.n_unscored = len(found.per_image), len(found.per_image.unscored)
        found.n_constant = sum(part.n_constant for part in parts)
        found.unscored = dict(found.per_image.reasons())
    return found


def _about(records: Sequence[RunRecord]) -> dict[str, Any]:
    """The dataset as all folds together held it out, and each fold's splits."""
    tests = [record.dataset["test"] for record in records]
    together = {
        "images": sum(test["images"] for test in tests),
        "points": sum(test["points"] for test in tests),
        "dropped_points": sum(test["dropped_points"] for test in tests),
        "digest": _hash(*(test["digest"] for test in tests)),
    }
    shared = {name: records[0].dataset[name] for name in ("name", "edition", "points", "synthetic", "source")}
    own = ("train", "test", "pool_of_other_images")
    folds = [{name: record.dataset[name] for name in own} for record in records]
    overlap = merged([record.dataset.get("overlap") or {} for record in records])
    return {
        **shared,
        "test": together,
        "folds": folds,
        **({"overlap": overlap} if overlap else {}),
        "skipped": _skipped(records),
    }


def _skipped(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Every image that was left out, once: as held out, where it would have been."""
    found: dict[Any, dict[str, Any]] = {}
    for image in (image for record in records for image in record.dataset["skipped"]):
        if image["split"] == "test" or image["id"] not in found:
            found[image["id"]] = image
    return list(found.values())


def _write_folds(folder: Path, pooled: Sequence[CellResult], folds: Sequence[Fold]) -> None:
    """A row a cell and fold: every metric's mean over the fold's own held-out images."""
    import pandas as pd

    rows = [
        {
            "cell_key": result.key,
            "fold": fold.number,
            "fold_cell_key": (part := fold.results[name]).key,
            **part.metrics,
            "n_images": part.n_images,
            "status": part.status,
        }
        for result, name in zip(pooled, _everywhere(folds), strict=True)
        for fold in folds
    ]
    replace(folder / FOLDS, pd.DataFrame(rows).to_parquet(index=False))


def _tell(observers: Sequence[Observer], record: RunRecord, pooled: Sequence[CellResult]) -> None:
    for observer in observers:
        observer.started(record)
        for result in pooled:
            observer.cell_ended(result)
        observer.ended("failed" if any(result.status == "failed" for result in pooled) else "finished")


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
