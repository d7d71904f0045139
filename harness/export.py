"""A finished cell's maps on the held-out images as files, from the readout that the run saved."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.cells import NO_BACKBONE, Cell
from harness.data.image_files import LONGEST
from harness.errors import PluginError, RecipeError, ResultsError
from harness.evaluation import stimulus_maps
from harness.machine import choose_device, stream_settings
from harness.module_backbone import untrained
from harness.plan import make_plan
from harness.predictions import FORMATS, id_name, writer_for
from harness.predictor import saved_readout
from harness.readout import Readout
from harness.readout_files import READOUT
from harness.recipe import load_recipe
from harness.results import FOLDS, RECIPE, RUN, cell_folder, read_cells
from harness.shown import shown
from harness.splits import read_split
from harness.stream import Stream

if TYPE_CHECKING:
    from harness._backbone import Backbone, LoadedBackbone
    from harness.data.dataset import Dataset
    from harness.plan import Plan
    from harness.progress import Progress
    from harness.recipe import Recipe

Row = dict[Any, Any]
_SHORTEST_PREFIX = 4


@dataclass(frozen=True)
class Exported:
    """What was written."""

    label: str
    key: str
    images: int


def export_cell(
    folder: Path,
    wanted: str,
    format: str,
    out: Path,
    progress: Progress,
    overrides: Sequence[str] = (),
    plugins: Sequence[Path] = (),
) -> Exported:
    """Predict again with a cell's saved readout and write its maps at the stimuli's own resolution.

    The plugin files of the run are programs: only those of the same names among `plugins` are run. Raises RecipeError
    for an unknown format; PluginError for a plugin file that is not among them; ResultsError where the cell is not
    there, not finished, predicts from held-out gaze, or its data or weights are no longer what they were.
    """
    if format not in FORMATS:
        raise RecipeError(f"--format {format}: choose one of {', '.join(FORMATS)}")
    row = select_cell(read_cells(folder).to_dict("records"), wanted)
    own = cell_folder(folder, row["cell_key"])
    if not (own / READOUT).is_file():
        raise ResultsError(f"{folder}: no readout of {wanted!r} is saved{where_else(folder)}")
    readout = saved_readout(own)
    plan = make_plan(_trusted(load_recipe(str(folder / RECIPE), overrides), plugins))
    device = choose_device(plan.recipe.device)
    test = read_split(plan, "test", progress)
    _check_data(folder, test)
    cell, backbone = _cell(plan, row)
    loaded = _load(backbone, row, device)
    settings = stream_settings(plan.recipe, plan.test_reader, device, held_out=True)
    stream = Stream(test, settings, device, loaded, cell.layers)
    _write(readout.to(device), stream, format, out, progress)
    return Exported(label_of(row), row["cell_key"], len(test) - len(stream.skipped))


def _trusted(recipe: Recipe, plugins: Sequence[Path]) -> Recipe:
    """The recipe with these plugin files in the place of its own: a folder of results may come from anybody."""
    named = {file.name for file in plugins}
    for file in recipe.plugins:
        if Path(file).name not in named:
            raise PluginError(f"the run used the plugin file {file}, a program: if you trust it, add --plugin {file}")
    return recipe.model_copy(update={"plugins": [str(file.absolute()) for file in plugins]})


def _write(readout: Readout, stream: Stream, format: str, out: Path, progress: Progress) -> None:
    names = map_names(stream.dataset)
    phase = progress.phase("exporting maps", len(stream.dataset))
    with writer_for(format, out) as writer, phase as bar, torch.inference_mode():
        for batch in stream.batches():
            for id_, plane in zip(batch.ids, stimulus_maps(readout(batch), batch), strict=True):
                writer.add(names[id_], id_, plane.cpu().contiguous().numpy())
            bar.advance(len(batch))
    for skipped in stream.skipped.values():
        progress.say(f"skipped image {skipped.id} ({skipped.file}): {skipped.reason}")


def map_names(dataset: Dataset) -> dict[int, str]:
    """What each image's map is called: the stimulus' file stem, or by the id where two share it or it is too long."""
    stems = [shown(file.stem) for file in dataset.files]
    times = Counter(stems)
    return {
        id_: stem if times[stem] == 1 and len(stem.encode()) <= LONGEST else id_name(id_, times)
        for id_, stem in zip(map(int, dataset.ids), stems, strict=True)
    }


def label_of(row: Row) -> str:
    """The cell's name as tables show it."""
    if row["backbone"] == NO_BACKBONE:
        return str(row["probe"])
    return f"{row['backbone']}/{row['weights']} · {row['layers']} · {row['probe']}"


def where_else(folder: Path) -> str:
    """Where to look instead."""
    if (folder / FOLDS).is_file():
        return f"; these are all folds together, name the folder of one ({folder.name}-fold0, ...)"
    return "; --cell chooses another one"


def select_cell(rows: Sequence[Row], wanted: str) -> Row:
    """The one finished cell of that key (or its beginning), label, words of the label, its end, or part of it.

    Of two that differ in their weights only, the trained one rather than the untrained. Raises ResultsError listing the
    candidates where it is none or several.
    """
    found = _matching(rows, wanted)
    finished = _trained([row for row in found if row["status"] == "finished"])
    if len(finished) == 1:
        return finished[0]
    if not finished and found:
        raise ResultsError(f"{label_of(found[0])} was {found[0]['status']}: {found[0]['error']}")
    problem = f"{len(finished)} cells match {wanted!r}" if finished else f"no cell matches {wanted!r}"
    choice = finished or [row for row in rows if row["status"] == "finished"] or rows
    listed = "\n".join(f"  {row['cell_key']}  {label_of(row)}" for row in choice)
    raise ResultsError(f"{problem}; choose one by its key or label:\n{listed}")


def _matching(rows: Sequence[Row], wanted: str) -> list[Row]:
    """The cells of the first rule that any cell meets, from the strictest on."""
    words = _words(wanted)
    rules: tuple[Callable[[Row], bool], ...] = (
        lambda row: row["cell_key"] == wanted or label_of(row) == wanted,
        lambda row: len(wanted) >= _SHORTEST_PREFIX and row["cell_key"].startswith(wanted),
        lambda row: bool(words) and set(words) <= set(_words(label_of(row))),
        lambda row: bool(words) and label_of(row).endswith(wanted),
        lambda row: bool(words) and all(_part(word, label_of(row)) for word in words),
    )
    return next((found for rule in rules if (found := [row for row in rows if rule(row)])), [])


def _trained(rows: list[Row]) -> list[Row]:
    """Without the untrained ones among cells that are the same but for their weights."""
    if len({(row["backbone"], row["layers"], row["probe"]) for row in rows}) != 1:
        return rows
    return [row for row in rows if not untrained(row["weights"])] or rows


def _part(word: str, label: str) -> bool:
    """Whether a label has that word in it, and not with a number cut short: 1.5 is no part of 1.55."""
    end = r"(?!\d)" if word[-1].isdigit() else ""
    return re.search(re.escape(word) + end, label) is not None


def _words(label: str) -> list[str]:
    return [word for word in re.split(r"[\s·]+", label) if word]


def _check_data(folder: Path, test: Dataset) -> None:
    try:
        recorded = json.loads((folder / RUN).read_text(encoding="utf-8"))["dataset"]["test"]["digest"]
    except (OSError, ValueError, LookupError) as error:
        raise ResultsError(f"{folder / RUN} cannot be read ({error}); is it the folder of a run?") from error
    if recorded != test.digest:
        raise ResultsError(f"the held-out images of {test.name} are not those of the run in {folder} any more")


def _cell(plan: Plan, row: Row) -> tuple[Cell, Backbone | None]:
    """The recipe's cell of that row; of several variants of one backbone the one whose weights resolve to the row's."""
    same = [
        (cell, group.backbone)
        for group in plan.groups
        for cell in group.cells
        if (cell.backbone, cell.layer_set, cell.probe_label) == (row["backbone"], row["layers"], row["probe"])
    ]
    if not same:
        raise ResultsError(f"the recipe of this run has no cell {label_of(row)}; was it changed?")
    digests = [found.sha256 if backbone and (found := backbone.find_weights()) else None for _, backbone in same]
    if row["weights_sha256"] in digests:
        return same[digests.index(row["weights_sha256"])]
    return same[digests.index(None) if None in digests else 0]  # not fetched yet: `_load` will tell


def _load(backbone: Backbone | None, row: Row, device: torch.device) -> LoadedBackbone | None:
    if backbone is None:
        return None
    loaded = backbone.load(device)
    if loaded.weights.sha256 != row["weights_sha256"]:
        raise ResultsError(f"{label_of(row)}: the weights are not those of the run any more ({loaded.weights.name})")
    return loaded
