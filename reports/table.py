"""The leaderboard as a page shows it: columns that can be sorted, one line a cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports._board import (
    backbone,
    has_network,
    higher_is_better,
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


@dataclass(frozen=True)
class Table:
    """`runs` says whether there is a column for them."""

    runs: bool
    columns: list[Column]
    lines: list[Line]


def table(studies: Sequence[Study]) -> Table:
    """All finished cells of all runs; those of several runs are ranked together where one metric ranks all."""
    metrics = list(dict.fromkeys(metric for study in studies for metric in study.board.metrics))
    main = {study.by for study in studies}
    columns = [
        Column(metric.upper(), True, "↑" if higher_is_better(metric) else "↓", metric in main) for metric in metrics
    ]
    shares = any(study.board.has_shares for study in studies)
    columns += [Column("range %", True)] * shares + [Column("images", True), Column("own time, s", True)]
    lines = [(study, row) for study in studies for row in study.board.finished]
    if len(main) == 1:
        sign = -1 if studies[0].higher_is_better else 1
        by = studies[0].by
        lines.sort(key=lambda line: (line[1].get(by) is None, sign * (line[1].get(by) or 0)))
    return Table(len(studies) > 1, columns, [_line(study, row, metrics, shares=shares) for study, row in lines])


def _line(study: Study, row: Row, metrics: Sequence[str], *, shares: bool) -> Line:
    return Line(
        row["cell_key"],
        label(row),
        list(_entries(study, row, metrics, shares=shares)),
        study.name,
        row["cell_key"] == study.board.best,
        _role(study, row),
    )


def _entries(study: Study, row: Row, metrics: Sequence[str], *, shares: bool) -> Iterator[Entry]:
    for metric in metrics:
        text = (score_with_interval if metric == study.by else score)(row, metric)
        yield Entry(text, _sortable(row.get(metric)))
    if shares:
        part = share(row, study.by)
        yield Entry(percent(row, study.by), _sortable(part), None if part is None else min(1.0, max(0.0, part)))
    yield Entry(str(row["n_images"]), str(row["n_images"]))
    yield Entry(f"{own_seconds(row):.1f}", repr(own_seconds(row)))


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


def networks(study: Study) -> list[str]:
    """The networks that were read, best first."""
    return list(dict.fromkeys(backbone(row) for row in study.networks))
