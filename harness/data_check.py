"""`salprobe data check`: what a SALICON folder holds, and the recipe lines for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.data._survey import KNOWN_FILES, KNOWN_IMAGES, KNOWN_POINTS, Gaze, Survey, survey
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

    def say(line: str) -> None:
        console.print(shown(line), highlight=False, markup=False, soft_wrap=True)  # a recipe's line is one line

    found = survey(expanded(root).absolute(), progress_for(console), images=images)
    for line in _images(found, opened=images):
        say(line)
    if found.gaze:
        console.print(_table(found.gaze))
    for line in (*_remarks(found), *_maps(found)):
        say(line)
    for line in found.unreadable[:SHOWN]:
        console.print(Text.assemble(("unreadable ", "red"), shown(line)), soft_wrap=True)
    if len(found.unreadable) > SHOWN:
        console.print(f"[red]and {len(found.unreadable) - SHOWN} more[/]", highlight=False)
    for line in _recipe(found):
        say(line)
    return DataError.exit_code if found.unreadable else OK


def _images(found: Survey, *, opened: bool) -> Iterator[str]:
    if not found.images:
        yield f"no images in {found.root} (looked in images/, images/train, images/val, train, val)"
    for folder, count in found.images.items():
        known = KNOWN_FILES.get(Path(folder).name)
        parts = [f"{n:,} of {KNOWN_FILES[word]:,} {word}" for word, n in found.flat.get(folder, {}).items()]
        more = f" of {known:,}" if known else f" ({', '.join(parts)})" if parts else ""
        yield f"{folder}: {count:,}{more} image files"
    if found.images and not opened:
        yield "image files were counted, not opened: --images checks each"
    if not found.gaze:
        yield "no gaze: neither fixations_train2014.json or fixations_val2014.json nor fixations/train/*.mat"
        files = [file for folder in ("", "annotations") for file in sorted((found.root / folder).glob("*.json"))]
        if files:
            names = ", ".join(file.name for file in files[:SHOWN])
            yield f"other annotation files are named in the recipe (dataset.train=FILE, dataset.test=FILE): {names}"


def _remarks(found: Survey) -> Iterator[str]:
    """What the table has no column for."""
    for part in found.gaze:
        if part.without:
            yield f"{part.source} ({part.points}): {part.without:,} images without any usable point"
        if part.outside:
            yield f"{part.source} ({part.points}): {part.outside:,} points outside their image are dropped"
    for source, names in found.missing.items():
        yield f"{source}: {len(names):,} images are in no folder, the first is {names[0]}"


def _maps(found: Survey) -> Iterator[str]:
    for split, maps in found.maps.items():
        if not maps.images:
            yield f"released maps ({split}): none could be compared with points"
            continue
        own = f"correlation {maps.correlation:.3f} with points blurred by 19 px on {maps.images} images"
        best = f"best {maps.best_correlation:.3f} with {maps.best_sigma:g} px (at 480 rows)"
        yield f"released maps ({split}): {own}; {best}"


def _table(gaze: list[Gaze]) -> Table:
    table = Table("split", "gaze", "kind", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.columns[1].overflow = "fold"
    for name in ("images", "of", "observers", "points", "outside", "times", "total of"):
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
            "yes" if part.timed else "no",
            _edition(part),
        )
    return table


def _edition(part: Gaze) -> str:
    if part.edition is not None:
        return f"edition {part.edition}"
    nearest, total = _nearest(part)
    return f"none ({part.count / total:.1%} of the {total:,} of {nearest})"


def _nearest(part: Gaze) -> tuple[str, int]:
    """(edition, its total) whose total of such points is nearest."""
    totals = {edition: n[part.split] for (edition, kind), n in KNOWN_POINTS.items() if kind == part.points}
    return min(totals.items(), key=lambda item: abs(part.count / item[1] - 1))


def _recipe(found: Survey) -> Iterator[str]:
    if not found.gaze or not found.images:
        return
    part = found.gaze[0]
    edition, note = part.edition, ""
    if edition is None and part.source.endswith(".json"):
        edition = "2014"
    elif edition is None:
        edition, note = _nearest(part)[0], "   # the nearest; the points are neither 2015's nor 2017's in number"
    yield ""
    yield "recipe lines:"
    yield "dataset:"
    yield "  reader: salicon"
    yield f"  root: {yaml.safe_dump(str(found.root), width=math.inf).splitlines()[0]}"
    yield f"  edition: {edition}{note}"
    yield f"  points: {part.points}" + ("   # or mouse" if part.points == "fixations" else "")
    if found.maps:
        yield "  density: blurred   # or released"
