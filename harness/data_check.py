"""`salprobe data check`: what a SALICON folder holds, and the recipe lines for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.data._survey import KNOWN_IMAGES, KNOWN_POINTS, Gaze, Survey, survey
from harness.errors import DataError
from harness.paths import expanded
from harness.progress import progress_for
from harness.shown import shown

OK = 0
SHOWN = 10
"""Unreadable files that are named."""


def check(root: Path, *, images: bool = False) -> int:
    """Print what is below `root`; the exit code is DataError's where a file cannot be read."""
    console = Console()
    found = survey(expanded(root).absolute(), progress_for(console), images=images)
    for line in _images(found):
        console.print(line, highlight=False)
    if found.gaze:
        console.print(_table(found.gaze))
    for split, maps in found.maps.items():
        own = f"correlation {maps.correlation:.3f} with points blurred by 19 px on {maps.images} images"
        best = f"best {maps.best_correlation:.3f} with {maps.best_sigma:g} px (at 480 rows)"
        console.print(f"released maps ({split}): {own}; {best}", highlight=False)
    for line in found.unreadable[:SHOWN]:
        console.print(f"[red]unreadable[/] {escape(shown(line))}", highlight=False)
    if len(found.unreadable) > SHOWN:
        console.print(f"[red]and {len(found.unreadable) - SHOWN} more[/]", highlight=False)
    for line in _recipe(found):
        console.print(line, highlight=False, markup=False)
    return DataError.exit_code if found.unreadable else OK


def _images(found: Survey) -> Iterator[str]:
    if not found.images:
        yield f"no images in {found.root} (looked in images/, images/train, images/val, train, val)"
    for folder, count in found.images.items():
        yield f"{folder}: {count} image files"
    if not found.gaze:
        yield "no gaze: neither fixations_train2014.json or fixations_val2014.json nor fixations/train/*.mat"


def _table(gaze: list[Gaze]) -> Table:
    table = Table("split", "gaze", "kind", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.columns[1].overflow = "fold"
    for name in ("images", "of", "observers", "points", "outside", "total of"):
        table.add_column(name, justify="right")
    for part in gaze:
        table.add_row(
            part.split,
            part.source,
            part.points,
            f"{part.images:,}",
            f"{KNOWN_IMAGES[part.split]:,}",
            f"{part.observers:,}",
            f"{part.count:,}",
            f"{part.outside:,}",
            _edition(part),
        )
    return table


def _edition(part: Gaze) -> str:
    if part.edition is not None:
        return f"edition {part.edition}"
    share = {
        edition: part.count / totals[part.split]
        for (edition, kind), totals in KNOWN_POINTS.items()
        if kind == part.points
    }
    nearest = min(share, key=lambda edition: abs(share[edition] - 1))
    return f"none ({share[nearest]:.1%} of {nearest}'s)"


def _recipe(found: Survey) -> Iterator[str]:
    if not found.gaze or not found.images:
        return
    part = found.gaze[0]
    edition = part.edition or ("2014" if part.source.endswith(".json") else "2015 or 2017")
    yield ""
    yield "recipe lines:"
    yield "dataset:"
    yield "  reader: salicon"
    yield f"  root: {found.root}"
    yield f"  edition: {edition}"
    yield f"  points: {part.points}" + ("   # or mouse" if part.points == "fixations" else "")
