"""Maps made by any model, scored on the held-out images by the evaluation that scores the project's own cells."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from harness._probe import Context, Probe
from harness.album import GrowingAlbum
from harness.cell_pictures import keep_extremes, keep_maps
from harness.cells import NO_BACKBONE, Cell
from harness.data.dataset import DATASETS, Dataset
from harness.density import SIGMA_AT_480, TRUNCATE
from harness.environment import describe_environment
from harness.errors import DataError, RecipeError, ResultsError, UnknownNameError
from harness.evaluation import Scores, evaluate
from harness.files import replace
from harness.folds import by_fold
from harness.identity import SCORING_VERSION, cell_key
from harness.lock import locked
from harness.machine import choose_device, stream_settings
from harness.metric_registry import METRICS
from harness.metrics import Metric
from harness.plan import Plan, readers
from harness.plugin_files import load_plugins
from harness.predictions import Checked, Found, StoredReadout, check_maps, find_maps
from harness.ranking import lower_ones
from harness.recipe import load_recipe, parse_recipe, recipe_names
from harness.recipe_overrides import override_key
from harness.recipe_runs import split_name
from harness.results import RECIPE, CellResult, ResultsFolder, RunRecord
from harness.run import about, matrix_id
from harness.shown import shown
from harness.splits import read_split
from harness.stream import Stream
from harness.uncertainty import Uncertainty

if TYPE_CHECKING:
    from harness.progress import Progress
    from harness.recipe import Recipe

NO_MAP = "no map"
SCORE = "score.json"
_SHOWN = 4


@dataclass(frozen=True)
class Outside(Probe):
    """What stands in a cell where others have their probe: maps that were made elsewhere."""

    maps: str
    reads = "gaze"

    @property
    def label(self) -> str:
        """The name they go by."""
        return self.maps

    def trainer(self, context: Context) -> NoReturn:
        """Nothing is trained."""
        raise NotImplementedError("stored maps are scored, not trained")


@dataclass(frozen=True)
class Scoring:
    """What to score, and how to take the maps."""

    predictions: Path
    plan: Plan
    label: str
    strict: bool = False
    """Refuse maps that are not of their image's size."""
    allow_missing: bool = False
    """Count images without a map as unscored."""
    density: bool = False
    """The maps are densities (up to scale), so that metrics of log densities can be computed."""

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The plan's metrics that such maps can have."""
        return tuple(metric for metric in self.plan.metrics if metric.scores == "map" or self.density)

    def run(self, out: Path, progress: Progress) -> tuple[CellResult, Path]:
        """Score the maps; the result and its folder `<out>/<label>`. Raises DataError for maps that cannot be used."""
        if not self.metrics:
            names = ", ".join(metric.name for metric in self.plan.metrics)
            raise RecipeError(f"{names} needs densities: say --density if the maps are, or choose other metrics")
        folder = self._folder(out)
        with locked(folder):
            return self._run(ResultsFolder(folder), progress)

    def _run(self, results: ResultsFolder, progress: Progress) -> tuple[CellResult, Path]:
        device = choose_device(self.plan.recipe.device)
        test = read_split(self.plan, "test", progress)
        found, checked = self._take(test, progress)
        result = self._result(test, found, checked)
        stream = Stream(test, stream_settings(self.plan.recipe, self.plan.test_reader, device), device)
        readout, pictures = StoredReadout(found.maps, are_densities=self.density), self.plan.recipe.pictures > 0
        scores = evaluate({result.key: readout}, stream, self.metrics, progress, keep_maps=pictures)[result.key]
        _name_missing(scores, found, self.metrics)
        self._fill(result, scores)
        Uncertainty(self.metrics, test.digest).add([result])
        self._write(results, result, scores, test)
        return result, results.folder

    def _write(self, results: ResultsFolder, result: CellResult, scores: Scores, test: Dataset) -> None:
        """What a run of one cell leaves, but for a readout; SCORE tells it from a run."""
        recipe, environment = self._recipe(), describe_environment()
        replace(results.folder / SCORE, b"{}")  # first and last: the same command may be repeated wherever it broke off
        results.write_recipe(recipe)
        data = about(test, sources=(self.plan.test_reader.cited,))
        lower = lower_ones(recipe.metrics)
        results.write_record(RunRecord(recipe, results.folder, matrix_id(recipe, test), data, environment, lower))
        results.open_cell(result, network=None)
        if result.status == "finished":
            album = GrowingAlbum(results.folder, test)
            keep_maps(result, scores.maps, album, recipe)
            if len(scores.maps):
                keep_extremes(result, self.metrics, album)
            album.close()
        results.close_cell(result)
        results.add(result)
        results.flush()
        record = {"maps": shown(self.predictions), "identity": result.identity, "environment": environment}
        replace(results.folder / SCORE, json.dumps(record, indent=1, default=list).encode())

    def _recipe(self) -> Recipe:
        """What was used of the plan's recipe: its data and the metrics that such maps can have."""
        asked, names = self.plan.recipe, [metric.name for metric in self.metrics]
        kept = {"dataset", "seed", "limit", "pictures"}
        document = asked.model_dump(mode="json", by_alias=True, exclude_unset=True, include=kept)
        document["dataset"] = asked.held_out.model_dump(mode="json", by_alias=True, exclude_unset=True)
        document["name"] = re.sub(r"[^A-Za-z0-9._-]+", "-", self.label).strip("._-") or "maps"
        document |= {"metrics": names, "probes": [NO_BACKBONE]}
        return parse_recipe(document | {"compare": asked.compare if asked.compare in names else ""})

    def _folder(self, out: Path) -> Path:
        folder = out.resolve() / (re.sub(r"[^\w.-]+", "-", self.label).strip(".-") or "maps")
        if (folder / RECIPE).exists() and not (folder / SCORE).exists():
            raise ResultsError(f"{folder} is the folder of a run; choose another --name or --out")
        return folder

    def _take(self, test: Dataset, progress: Progress) -> tuple[Found, Checked]:
        """Find and check every map before anything is scored."""
        found = find_maps(self.predictions, test)
        if found.missing and not (self.allow_missing and found.maps):
            names = _some([f"{file} (id {id_})" for id_, file in found.missing])
            hint = "; --allow-missing counts them as unscored" if found.maps else ""
            raise DataError(
                f"{self.predictions}: {len(found.missing)} of {len(test)} held-out images have no map: {names}; "
                f"a map is called like its image's file, or like its id{hint}"
            )
        checked = check_maps(found.maps, test, progress, density=self.density)
        if self.strict and checked.resized:
            raise DataError(
                f"{len(checked.resized)} of {len(found.maps)} maps have another size than their image: "
                f"{_some(checked.resized)}; without --strict they are resized"
            )
        return found, checked

    def _result(self, test: Dataset, found: Found, checked: Checked) -> CellResult:
        resolved = {
            "scoring_version": SCORING_VERSION,
            "dataset": {"name": test.name, "edition": test.edition, "points": test.points_kind},
            "test": {"images": len(test), "digest": test.digest},
            "weights": None,
            "maps": {"images": len(found.maps), "digest": checked.digest, "densities": self.density},
            "density": {"sigma_at_480": SIGMA_AT_480, "truncate": TRUNCATE},
            "seed": self.plan.recipe.seed,
            "metrics": {metric.name: metric.version for metric in self.metrics},
        }
        cell = Cell(
            dataset=self.plan.test_reader.label,
            backbone=NO_BACKBONE,
            weights=NO_BACKBONE,
            layer_set=NO_BACKBONE,
            layers=(),
            probe_label=self.label,
            probe=Outside(self.label),
            seed=self.plan.recipe.seed,
        )
        return CellResult(cell, cell_key(resolved), resolved, "finished", info={"warnings": self._told(found, checked)})

    def _told(self, found: Found, checked: Checked) -> list[str]:
        """What a reader of the scores must know."""
        left_out = ", ".join(metric.name for metric in self.plan.metrics if metric not in self.metrics)
        resized = f"{len(checked.resized)} of {len(found.maps)} maps resized: {_some(checked.resized)}"
        facts = {
            resized: checked.resized,
            f"{len(found.missing)} images without a map are unscored": found.missing,
            f"{found.unused} maps belong to no held-out image": found.unused,
            f"{left_out} left out, needs densities: --density if the maps are": left_out,
        }
        return [words for words, applies in facts.items() if applies]

    def _fill(self, result: CellResult, scores: Scores) -> None:
        result.error, result.seconds = scores.error, dict(scores.watch.seconds)
        if scores.error is not None:
            result.status = "failed"
            return
        result.metrics, result.per_image = scores.means(self.metrics), scores.per_image
        result.n_images, result.n_unscored = len(scores.per_image), len(scores.per_image.unscored)
        result.unscored = dict(scores.per_image.reasons())


def plan_for(dataset: str, overrides: Sequence[str]) -> Plan:
    """The data and metrics of a recipe, or of a dataset reader with the default metrics; a plan without cells."""
    recipe = _recipe_for(dataset, overrides)
    if by_fold(recipe):
        raise RecipeError("maps are scored on one fold: --set dataset.split.fold=0, or another")
    load_plugins(recipe.plugins)
    metrics = tuple(METRICS.get(name) for name in recipe.metrics)
    return Plan(recipe, *readers(recipe), (), metrics)


def _recipe_for(dataset: str, overrides: Sequence[str]) -> Recipe:
    recipes = recipe_names()
    name, _ = split_name(dataset)
    if name in recipes or Path(name).suffix in (".yaml", ".yml"):
        return load_recipe(dataset, overrides)
    if dataset not in DATASETS.names():
        raise UnknownNameError(DATASETS.unknown(dataset, sorted({*DATASETS.names(), *recipes})))
    document: dict[str, Any] = {"name": dataset, "dataset": {"reader": dataset}, "probes": [NO_BACKBONE]}
    for override in overrides:
        override_key(document, override)
    return parse_recipe(document, f"--dataset {dataset}")


def label_for(predictions: Path) -> str:
    """The name of maps that were given none: their folder's, or their file's."""
    place = predictions.resolve()
    return shown(place.stem if place.is_file() else place.name)


def _name_missing(scores: Scores, found: Found, metrics: Sequence[Metric]) -> None:
    """Say of images without a map that they have none, not that their map is NaN."""
    words = "; ".join(f"{metric.name}: {NO_MAP}" for metric in metrics)
    missing = {id_ for id_, _ in found.missing}
    scores.per_image.unscored |= {id_: words for id_ in scores.per_image.ids.tolist() if id_ in missing}


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
