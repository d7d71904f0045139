"""The leaderboard as a page shows it: columns that can be sorted, one line a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.ranking import higher_is_better
from reports._board import (
    flags,
    has_network,
    label,
    own_seconds,
    percent,
    score,
    score_with_interval,
    share,
)
from reports.study import Row, Study


@dataclass(frozen=True)
class Column:
    """`numeric` columns are sorted by value; an arrow tells which end is better."""

    title: str
    numeric: bool = False
    arrow: str = ""
    main: bool = False
    """The ranking one."""


@dataclass(frozen=True)
class Entry:
    """What is shown, what it is sorted by, and the part of its background that is filled, from 0 to 1."""

    text: str
    value: str
    fill: float | None = None


@dataclass(frozen=True)
class Line:
    """One cell."""

    key: str
    name: str
    entries: list[Entry]
    """One a column after the first two, which are `run` and the name."""
    run: str
    best: bool
    role: str
    """ "floor", "ceiling", "baseline" or nothing."""
    flags: list[str]
    """What its numbers are to be doubted for."""


@dataclass(frozen=True)
class Table:
    """`runs` says whether there is a column for them."""

    runs: bool
    columns: list[Column]
    lines: list[Line]


def table(studies: Sequence[Study]) -> Table:
    """All finished cells of all runs; those of several runs are ranked together where one metric ranks all."""
    main = list(dict.fromkeys(study.by for study in studies if study.by))
    metrics = list(dict.fromkeys([*main, *(metric for study in studies for metric in study.board.metrics)]))
    lower = {metric for study in studies for metric in study.lower}
    columns = [
        Column(metric.upper(), True, "↑" if higher_is_better(metric, lower) else "↓", len(main) == 1 and metric in main)
        for metric in metrics
    ]
    shares = any(study.board.has_shares for study in studies)
    columns[len(main) : len(main)] = [Column("range %", True)] * shares
    columns += [Column("own time, s", True), Column("images", True)]
    lines = [(study, row) for study in studies for row in study.board.finished]
    if len(main) == 1:
        by, sign = main[0], -1 if higher_is_better(main[0], lower) else 1
        lines.sort(key=lambda line: (line[1].get(by) is None, sign * (line[1].get(by) or 0)))
    return Table(
        len(studies) > 1, columns, [_line(study, row, metrics, len(main), shares=shares) for study, row in lines]
    )


def _line(study: Study, row: Row, metrics: Sequence[str], main: int, *, shares: bool) -> Line:
    return Line(
        row["cell_key"],
        label(row),
        _entries(study, row, metrics, main, shares=shares),
        study.name,
        row["cell_key"] == study.board.best,
        _role(study, row),
        flags(row),
    )


def _entries(study: Study, row: Row, metrics: Sequence[str], main: int, *, shares: bool) -> list[Entry]:
    """`main` ranking metrics come first, their share of the range after them."""
    scores = [Entry((score_with_interval if m == study.by else score)(row, m), _sortable(row.get(m))) for m in metrics]
    if shares:
        part = share(row, study.by)
        filled = None if part is None else min(1.0, max(0.0, part))
        scores.insert(main, Entry(percent(row, study.by), _sortable(part), filled))
    return [
        *scores,
        Entry(f"{own_seconds(row):.1f}", repr(own_seconds(row))),
        Entry(str(row["n_images"]), str(row["n_images"])),
    ]


def _role(study: Study, row: Row) -> str:
    if has_network(row):
        return ""
    for which in ("floor", "ceiling"):
        bound = study.bound(which)
        if bound and bound["cell_key"] == row["cell_key"]:
            return which
    return "baseline"


def _sortable(value: float | None) -> str:
    return "" if value is None else repr(float(value))
