"""Two chosen cells of one or two runs, image by image and on every metric, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.errors import ResultsError
from harness.export import select_cell
from harness.paired import PairedTest
from harness.ranking import higher_is_better
from harness.statistics import holm
from reports._board import label
from reports._pairs import decimals, difference, p_value
from reports.answer import held_out_digests, scored_differently
from reports.comparisons import matched_scores, paired
from reports.study import Row, Study, read_studies

LOWER_MARK = " (-)"
"""Beside a metric of which lower is better."""


@dataclass(frozen=True)
class Side:
    """A cell and its run."""

    study: Study
    row: Row

    @property
    def name(self) -> str:
        """The cell's, as tables show it."""
        return label(self.row)


@dataclass(frozen=True)
class Compared:
    """Two cells on one metric, over the images that both scored; `p_holm` is over all metrics of the comparison."""

    metric: str
    mean_a: float
    mean_b: float
    better: float
    """The share of images on which a is better than b, those on which they are alike by half."""
    test: PairedTest
    p_holm: float


def print_comparison(folders: Sequence[Path], cells: Sequence[str], console: Console | None = None) -> None:
    """Print a, b and what is between them; raises ResultsError as `two_sides` and `compared` do."""
    console = console or Console()
    a, b = two_sides(folders, cells)
    rows = compared(a, b)
    for letter, side in (("a", a), ("b", b)):
        console.print(f"[bold]{letter}[/] [dim]{escape(side.study.name)}:[/] {escape(side.name)}", highlight=False)
    for words in scored_differently([a.study, b.study]):
        console.print(f"[yellow]warning[/] {escape(words)}", highlight=False)
    console.print(_table(rows, a.study.lower))
    console.print(
        "a − b: mean over the images that both scored, 95 % bootstrap; p: sign flips, Holm over the metrics above; "
        f"a better: on so many of these images, ties by half;{LOWER_MARK}: lower is better",
        highlight=False,
    )


def two_sides(folders: Sequence[Path], cells: Sequence[str]) -> tuple[Side, Side]:
    """Two cells of one run, or of two runs one each: the same by name, or those they are ranked best by.

    Raises ResultsError where these are not two cells, or runs were not scored on the same images.
    """
    studies = read_studies(folders)
    if (len(studies), len(cells)) not in {(1, 2), (2, 0), (2, 1), (2, 2)}:
        raise ResultsError(
            f"two cells are compared, given were runs: {len(studies)}, cells: {len(cells)}; give one run and --cell "
            "twice, or two runs and --cell once (the same in both), twice (the first's, the second's) or not (the best)"
        )
    if len(studies) == 2:
        _check_images(*studies)
    one, other = studies[0], studies[-1]
    first, second = (cells[0], cells[-1]) if cells else (None, None)
    a, b = Side(one, _chosen(one, first)), Side(other, _chosen(other, second))
    if a.study is b.study and a.row["cell_key"] == b.row["cell_key"]:
        raise ResultsError(f"{first!r} and {second!r} are the same cell, {a.name}: there is nothing to compare")
    return a, b


def compared(a: Side, b: Side) -> list[Compared]:
    """One for each metric that both cells have; raises ResultsError where no two images were scored in both."""
    shared = [metric for metric in a.study.board.metrics if metric in b.study.board.metrics]
    found = []
    for metric in shared:
        scores = matched_scores(a.study, a.row, b.study, b.row, metric)
        test = paired(*scores, a.row, b.row, metric)
        if test is None:
            continue
        first, second = map(np.array, scores)
        ahead = np.sign(first - second) * (1 if higher_is_better(metric, a.study.lower) else -1)
        found.append(Compared(metric, first.mean(), second.mean(), float((1 + ahead).mean() / 2), test, np.nan))
    if not found:
        raise ResultsError(f"no metric has two images that {a.name} and {b.name} were both scored on")
    adjusted = holm(np.array([one.test.p_value for one in found]))
    return [replace(one, p_holm=float(p)) for one, p in zip(found, adjusted, strict=True)]


def _check_images(one: Study, other: Study) -> None:
    digests = held_out_digests([one, other])
    if None in digests or digests[0] != digests[1]:
        raise ResultsError(
            f"{one.name} ({one.board.dataset}) and {other.name} ({other.board.dataset}) were not scored on the same "
            "held-out images and gaze: a paired comparison needs them"
        )


def _chosen(study: Study, wanted: str | None) -> Row:
    if wanted is not None:
        return select_cell(study.board.finished + study.board.others, wanted)
    if study.best is None:
        raise ResultsError(f"{study.name}: no cell was scored")
    return study.best


def _table(rows: Sequence[Compared], lower: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("metric", no_wrap=True)
    for name in ("a", "b", "a − b", "p (Holm)", "a better", "images"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row.metric.upper()) + ("" if higher_is_better(row.metric, lower) else LOWER_MARK),
            decimals(row.mean_a),
            decimals(row.mean_b),
            difference(vars(row.test)),
            p_value(row.p_holm),
            f"{row.better:.0%}".replace("%", " %"),
            str(row.test.n),
        )
    return table
