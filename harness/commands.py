"""What the commands do: compose recipe, plan, run, tracking and reports, and talk to the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness import interrupt
from harness.allocator import keep_pages
from harness.distributed import asked_for, is_main, processes, size
from harness.errors import ProcessesError, TrackingError, UnwritableError
from harness.export import export_cell
from harness.folds import Fold, by_fold, pool
from harness.machine import choose_device, settled, stream_settings
from harness.memory import estimate, peak_bytes
from harness.overlap import refuse_overlap
from harness.overwrite import Overwrite
from harness.plan import Plan, make_plan
from harness.predictions import EIGHT_BIT
from harness.progress import Silent, progress_for
from harness.recipe import Recipe, load_recipe, load_recipes
from harness.registry import Registry
from harness.results import Observer
from harness.run import run
from harness.score import Scoring, label_for, plan_for
from harness.splits import read_splits
from harness.tracking import MlflowObserver
from harness.units import gib

REPORTS: Registry[Callable[..., Any]] = Registry("report", "salprobe.reports")
OK, CELLS_FAILED = 0, 1
SELF_CHECK = "self-check"


def run_recipe(
    name: str,
    overrides: Sequence[str],
    out: Path,
    plugins: Sequence[Path] = (),
    overwrite: Overwrite = Overwrite.MISSING,
) -> int:
    """Run a recipe, print its leaderboard, return the exit code: non-zero if a cell or the tracking failed.

    Of several processes only the main one speaks. A signal stops the run where it can go on later.
    """
    keep_pages()
    every = [(recipe, _planned(recipe)) for recipe in load_recipes(name, overrides, plugins)]
    with interrupt.handled(echoes=asked_for()):
        try:
            with processes():
                return _first_bad([_run_planned(recipe, plan, out, overwrite) for recipe, plan in every])
        except interrupt.Interrupted as stop:
            return stop.exit_code
        except ProcessesError:
            if (signal := interrupt.arrived()) is None:
                raise
            return signal.exit_code  # it came to all of them: one was gone before the others had left


def _planned(recipe: Recipe) -> Plan | dict[int, Plan]:
    """The plan, or one a fold."""
    return {fold: make_plan(one) for fold, one in by_fold(recipe).items()} or make_plan(recipe)


def _run_planned(recipe: Recipe, plan: Plan | dict[int, Plan], out: Path, overwrite: Overwrite) -> int:
    return _run(plan, out, overwrite) if isinstance(plan, Plan) else _run_folds(recipe, plan, out, overwrite)


def _first_bad(codes: Sequence[int]) -> int:
    return next((code for code in codes if code != OK), OK)


def _run_folds(recipe: Recipe, plans: Mapping[int, Plan], out: Path, overwrite: Overwrite) -> int:
    """A run after the other, then all of them together; the exit code of the first that was not fine."""
    folds = [Fold(number) for number in plans]
    codes = [_run(plan, out, overwrite, [fold]) for fold, plan in zip(folds, plans.values(), strict=True)]
    if is_main():
        metrics = next(iter(plans.values())).metrics
        tracker = MlflowObserver() if recipe.tracking.enabled else None
        folder = pool(recipe, folds, metrics, out, [tracker] if tracker else [])
        codes.append(_show(folder, out, tracker, Console(), failed=CELLS_FAILED in codes))
    return _first_bad(codes)


def _run(plan: Plan, out: Path, overwrite: Overwrite, watching: Sequence[Observer] = ()) -> int:
    if not is_main():
        run(plan, out, Silent(), overwrite=overwrite)
        return OK
    console = Console()
    progress = progress_for(console)
    recipe = plan.recipe
    device = choose_device(recipe.device)
    precision = settled(recipe, device).precision
    together = f", {size()} processes" if size() > 1 else ""
    progress.say(
        f"{recipe.name}: {len(plan.cells)} cells, dataset {plan.data_label}, device {device}, {precision}{together}"
    )
    tracker = MlflowObserver() if recipe.tracking.enabled else None
    try:
        outcome = run(plan, out, progress, [*watching, *([tracker] if tracker else [])], overwrite)
    except interrupt.Interrupted as stop:
        again = "the same command" + (" without --overwrite all" if overwrite is Overwrite.ALL else "")
        console.print(f"stopped by {stop.name}; {again} goes on from here", style="yellow", highlight=False)
        raise
    except UnwritableError:
        console.print("what is finished is kept: with room the same command goes on from there", highlight=False)
        raise
    failed = outcome.counts["failed"] > 0
    return _show(outcome.folder, out, tracker, console, failed=failed, reused=outcome.reused)


def _show(
    folder: Path,
    out: Path,
    tracker: MlflowObserver | None,
    console: Console,
    *,
    failed: bool,
    reused: Collection[str] = (),
) -> int:
    """Print the leaderboard and where everything is; the exit code."""
    REPORTS.get("terminal")(folder, console, reused)
    console.print(f"results: {folder}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"memory: {gib(peak_bytes())} at the peak", highlight=False)
    if tracker and tracker.error is None:
        words = f"open the MLflow UI: {_command()} ui --out {out}"
        console.print(words, soft_wrap=True, highlight=False, markup=False)
    if failed:
        return CELLS_FAILED
    if tracker and tracker.error is not None:
        words = f"MLflow was not written ({tracker.error}); the results above are complete"
        console.print(words, style="yellow", markup=False)
        later = f"log them later: {_command()} track {folder}"
        console.print(later, soft_wrap=True, highlight=False, markup=False)
        return TrackingError.exit_code
    return OK


def self_check(overrides: Sequence[str], out: Path, plugins: Sequence[Path] = ()) -> int:
    """Run the recipe of known answers and compare its scores with theory; non-zero if a cell failed or one is off."""
    console = Console()
    plan = make_plan(load_recipe(SELF_CHECK, ["tracking.enabled=false", *overrides], plugins))
    outcome = run(plan, out, progress_for(console))
    off = 0 if outcome.counts["failed"] else REPORTS.get(SELF_CHECK)(outcome.folder, console)
    if outcome.counts["failed"]:
        REPORTS.get("terminal")(outcome.folder, console)
    console.print(f"results: {outcome.folder}", soft_wrap=True, highlight=False, markup=False)
    return CELLS_FAILED if off or outcome.counts["failed"] else OK


def dry_run(name: str, overrides: Sequence[str], plugins: Sequence[Path] = ()) -> None:
    """Print the plan of every run: its cells, the passes, the memory."""
    console = Console(markup=False)  # labels have brackets
    recipes = load_recipes(name, overrides, plugins)
    for recipe in recipes:
        if len(recipes) > 1:
            console.rule(recipe.name)
        _print_plan(recipe, console)


def _print_plan(recipe: Recipe, console: Console) -> None:
    folds = by_fold(recipe)
    plan = make_plan(next(iter(folds.values()), recipe))
    console.print(_cell_table(plan))
    if folds:
        names = ", ".join(one.name for one in folds.values())
        console.print(f"{len(folds)} runs like this one ({names}), then all folds together as {recipe.name}")
    progress, device = progress_for(console), choose_device(plan.recipe.device)
    train, test = read_splits(plan, progress)
    refuse_overlap(train, test, plan.recipe.allow_overlap)
    for group in plan.groups:
        settings = stream_settings(plan.recipe, plan.reader, device)
        peak = estimate(group, plan.recipe, train, test, settings, device)
        cached = peak.cache.serves_training
        held_out = _held_out(len(test), recipe.input.other_scales if group.backbone is not None else "")
        console.print(_passes(group.passes, len(train), held_out, group.backbone, cached), highlight=False)
        if group.backbone is None:
            continue
        found = group.backbone.find_weights()
        weights = f"{found.name} ({found.source})" if found else f"{group.backbone.weights} (not on this machine yet)"
        console.print(f"  weights: {weights}", highlight=False)
        console.print(
            f"  memory: about {gib(peak.total)} (process {gib(peak.process)}, statistics {gib(peak.statistics)}, "
            f"solver {gib(peak.solver)}, batch {gib(peak.batch)}, {peak.cache})",
            highlight=False,
        )


def score_maps(
    predictions: Path, dataset: str, overrides: Sequence[str], out: Path, name: str | None, **how: bool
) -> int:
    """Score maps from files, print them as a leaderboard, return the exit code: non-zero if scoring failed."""
    console = Console()
    scoring = Scoring(predictions, plan_for(dataset, overrides), name or label_for(predictions), **how)
    result, folder = scoring.run(out, progress_for(console))
    REPORTS.get("terminal")(folder, console)
    console.print(f"results: {folder}", soft_wrap=True, highlight=False, markup=False)
    return CELLS_FAILED if result.status == "failed" else OK


def export_maps(
    folder: Path, cell: str, format: str, out: Path, overrides: Sequence[str], plugins: Sequence[Path] = ()
) -> None:
    """Write a cell's maps and say what they are."""
    console = Console()
    done = export_cell(folder, cell, format, out, progress_for(console), overrides, plugins)
    scale = "8 bit, each map scaled to 0..255" if format in EIGHT_BIT else "float32"
    words = f"{done.images} maps of {done.label} ({done.key}) as {format}, {scale}: {out.resolve()}"
    console.print(words, soft_wrap=True, highlight=False, markup=False)


def start_ui(out: Path, port: int, host: str) -> int:
    """Run the MLflow UI in the foreground until it is stopped; raises TrackingError where there is no store."""
    from harness.tracking import ui

    return ui.start_ui(out, port, Console(), host)


def track(folders: Sequence[Path], uri: str | None) -> None:
    """Log finished runs to MLflow and say where they are."""
    from harness.tracking.later import track_folders

    console = Console()
    for done in track_folders(folders, uri, progress_for(console)):
        words = f"{done.folder}: {done.cells} cells are in {done.uri}"
        console.print(words, soft_wrap=True, highlight=False, markup=False)
    if uri is None:
        words = f"open the MLflow UI: {_command()} ui --out {folders[0].parent}"
        console.print(words, soft_wrap=True, highlight=False, markup=False)


def write_report(folders: Sequence[Path], out: Path, by: str | None) -> None:
    """Write the report of these runs and say where its files are."""
    for path in REPORTS.get("report")(folders, out, by):
        Console().print(str(path), soft_wrap=True, highlight=False, markup=False)


def compare(folders: Sequence[Path], cells: Sequence[str]) -> None:
    """Print two cells' scores and the paired tests between them."""
    REPORTS.get("comparison")(folders, cells)


def _command() -> str:
    """How this program is called from here: by its name, or by its path in an environment that is not active."""
    beside = Path(sys.executable).with_name("salprobe")
    if shutil.which("salprobe") or not beside.exists():
        return "salprobe"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def _cell_table(plan: Plan) -> Table:
    table = Table(title=f"{plan.recipe.name} on {plan.data_label}: {len(plan.cells)} cells")
    for column in ("backbone", "weights", "layers", "channels", "probe", "note"):
        table.add_column(column, justify="right" if column == "channels" else "left", overflow="fold")
    for cell in plan.cells:
        channels = str(sum(layer.channels for layer in cell.layers)) if cell.layers else ""
        table.add_row(
            cell.backbone,
            cell.weights,
            cell.layer_set,
            channels,
            cell.probe_label,
            f"{cell.unrun}: {cell.skip}" if cell.skip else "",
        )
    return table


def _held_out(images: int, scales: str) -> str:
    """ "200 held-out images", and at which times the input's size if not at that alone."""
    return f"{images} held-out images" + (f" at {scales} times the input's size" if scales else "")


def _passes(passes: int, n_train: int, held_out: str, backbone: Any, cached: bool) -> str:
    who = f"{backbone.label}/{backbone.weights}" if backbone is not None else "without a network"
    later = (
        ""
        if passes <= 1 or backbone is None
        else " (after the first from the cache)"
        if cached
        else " (all through the network)"
    )
    return f"{who}: {passes} passes over {n_train} training images{later}, 1 over {held_out}"
