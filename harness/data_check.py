"""`salprobe data check`: what a SALICON folder holds, and the recipe lines for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from harness.data._gaze_source import ANNOTATIONS
from harness.data._survey import KNOWN_FILES, KNOWN_IMAGES, KNOWN_POINTS, Gaze, Survey, survey
from harness.errors import DataError
from harness.paths import expanded
from harness.progress import progress_for
from harness.shown import shown

OK = 0
SHOWN = 10
"""Unreadable files that are named."""


def check(root: Path, *, images: bool = False) -> int:
    """Print what is below `root`; the exit code is DataError's where a run could not use it."""
    console = Console()

    def say(line: str) -> None:
        console.print(shown(line), highlight=False, markup=False, soft_wrap=True)  # a recipe's line is one line

    found = survey(expanded(root).absolute(), progress_for(console), images=images)
    for line in _images(found, opened=images):
        say(line)
    for line in (*map(_counts, found.gaze), *_remarks(found), *_maps(found)):
        say(line)
    for line in found.unreadable[:SHOWN]:
        console.print(Text.assemble(("unreadable ", "red"), shown(line)), soft_wrap=True)
    if len(found.unreadable) > SHOWN:
        console.print(f"[red]and {len(found.unreadable) - SHOWN} more[/]", highlight=False)
    for line in _recipe(found):
        say(line)
    return OK if _usable(found) else DataError.exit_code


def _usable(found: Survey) -> bool:
    """Whether a run could begin: images, gaze for them, nothing lost, nothing unreadable."""
    return bool(found.images and (found.gaze or _other_files(found))) and not (found.missing or found.unreadable)


def _other_files(found: Survey) -> list[Path]:
    """Annotation files, perhaps, under other names than SALICON's."""
    return [file for folder in ("", "annotations") for file in sorted((found.root / folder).glob("*.json"))]


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
        if files := _other_files(found):
            names = ", ".join(file.name for file in files[:SHOWN])
            yield f"other annotation files are named in the recipe (dataset.train=FILE, dataset.test=FILE): {names}"


def _remarks(found: Survey) -> Iterator[str]:
    """What the counts do not say."""
    splits = {part.split for part in found.gaze}
    for split in sorted({*ANNOTATIONS} - splits if splits else ()):
        yield (
            f"no {split} gaze: {ANNOTATIONS[split]} is not there; a run needs both splits, or dataset.split to hold "
            "out images of the other"
        )
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


def _counts(part: Gaze) -> str:
    """One source of one split in a line: a table of it would not fit on a terminal."""
    shares = f"{part.images:,} of {KNOWN_IMAGES[part.split]:,} images, {part.observers:,} observers"
    points = f"{part.count:,} points, {part.outside:,} outside, {'with' if part.timed else 'without'} times"
    return f"{part.split} ({part.points}): {part.source}: {shares}, {points}; {_edition(part)}"


def _edition(part: Gaze) -> str:
    if part.edition is not None:
        return f"the total of edition {part.edition}"
    nearest, total = _nearest(part)
    return f"the total of no edition ({part.count / total:.1%} of the {total:,} of {nearest})"


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
