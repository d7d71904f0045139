"""`salprobe data info`: what a dataset holds, whom to cite, and one picture of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from harness.data._summary import Spread, Summary, summarise
from harness.data_source import plan_of, print_source
from harness.errors import DataError, ResultsError
from harness.progress import progress_for
from harness.shown import shown, shown_lines
from harness.splits import read_split

if TYPE_CHECKING:
    from harness.data.dataset import Dataset, Split
    from harness.plan import Plan
    from harness.progress import Progress
    from harness.types import Size

SPLITS: tuple[Split, ...] = ("train", "test")
HEADINGS: dict[Split, str] = {"train": "training", "test": "held out"}
_SHOWN_SIZES = 4


def info(dataset: str, overrides: Sequence[str], plugins: Sequence[Path], out: Path | None) -> int:
    """Print it, and write the picture into the folder `out` if there is one; raises DataError without any split."""
    console = Console()
    plan = plan_of(dataset, overrides, plugins)
    found, problems = _splits(plan, progress_for(console))
    summaries = [summarise(split) for split in found]
    console.print()
    console.print(f"{shown(plan.reader.label)} ({_kind(found[0])})", style="bold", highlight=False, markup=False)
    console.print(_table(summaries))
    print_source(console, plan.reader.cited)
    for line in problems:
        console.print(shown_lines(line), style="yellow", highlight=False, markup=False, soft_wrap=True)
    if out is not None:
        path = _picture(plan, found, summaries, out)
        console.print(f"picture: {shown(path)}", highlight=False, markup=False, soft_wrap=True)
    return DataError.exit_code if problems else 0


def _splits(plan: Plan, progress: Progress) -> tuple[list[Dataset], list[str]]:
    """The splits that can be read, and what is wrong with the others."""
    found, errors = [], []
    for split in SPLITS:
        try:
            found.append(read_split(plan, split, progress))
        except DataError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found, [str(error) for error in errors]


def _kind(dataset: Dataset) -> str:
    return f"reader {dataset.name}, edition {dataset.edition}, {dataset.points_kind} points"


def _table(summaries: Sequence[Summary]) -> Table:
    table = Table("", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for summary in summaries:
        table.add_column(HEADINGS[summary.split], justify="right")
    for name, cell in _rows(summaries):
        table.add_row(name, *map(cell, summaries))
    return table


def _rows(summaries: Sequence[Summary]) -> Iterator[tuple[str, Callable[[Summary], str]]]:
    yield "images", lambda s: f"{s.images:,}"
    yield "height x width", lambda s: _sizes(s.sizes)
    yield "observers", lambda s: f"{s.observers:,}"
    yield "  of an image", lambda s: _spread(s.observers_per_image)
    yield "points", lambda s: f"{s.points:,}"
    yield "  of an image", lambda s: _spread(s.points_per_image)
    if any(s.without_points for s in summaries):
        yield "images without points", lambda s: f"{s.without_points:,}"
    if any(s.skipped for s in summaries):
        yield "images left out", lambda s: f"{s.skipped:,}"
    if any(s.dropped for s in summaries):
        yield "points left out (outside)", lambda s: f"{s.dropped:,}"
    yield "times of points", lambda s: "yes" if s.timed else "no"


def _sizes(sizes: Counter[Size]) -> str:
    shown = [
        f"{height}x{width}" + (f" ({n:,})" if len(sizes) > 1 else "") for (height, width), n in sizes.most_common()
    ]
    rest = len(shown) - _SHOWN_SIZES
    return "\n".join([*shown[:_SHOWN_SIZES], *([f"{rest} more sizes"] if rest > 0 else [])])


def _spread(spread: Spread) -> str:
    if spread.smallest == spread.largest:
        return f"{spread.smallest:,}"
    return f"median {spread.median:,g} ({spread.smallest:,}–{spread.largest:,})"


def _picture(plan: Plan, found: Sequence[Dataset], summaries: Sequence[Summary], out: Path) -> Path:
    from harness.data_picture import NAMES, draw_dataset

    images = " and ".join(f"{s.images:,} {NAMES[s.split]}" for s in summaries)
    path = out / f"{plan.recipe.name}-data.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
        draw_dataset(plan.reader.label, f"{images} images; {_kind(found[0])}", found, path)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written: {error.strerror}; choose another --out") from error
    return path.resolve()
