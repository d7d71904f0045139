"""The leaderboard in short, for the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reports._board import (
    Board,
    backbone,
    has_network,
    label,
    own_seconds,
    percent,
    read_board,
    score,
    score_with_interval,
    shared_seconds,
)
from reports._pairs import DIFFERENT, against, difference, p_value
from reports.folds import by_fold

NAMED = 2
"""Cells that are named where several did not finish for the same reason."""
NARROW, WIDE = 100, 120
"""Below the first so many characters a row's text columns become one; from the second on there is an interval."""


def print_leaderboard(folder: Path, console: Console | None = None) -> None:
    """Print a results folder: ranked cells, then what failed, was skipped or deserves a warning."""
    console = console or Console()
    board = read_board(folder)
    colour = "bold yellow" if "synthetic" in board.dataset else "bold"
    networks = _networks(board)
    where = f" with {escape(networks[0])}" if len(networks) == 1 else ""
    console.print(f"\n[bold]{escape(board.recipe)}[/] on [{colour}]{escape(board.dataset)}[/]{where}", highlight=False)
    if board.finished:
        table, left_out = _widest_that_fits(board, console)
        console.print(table)
        if left_out:
            console.print(f"no room for {escape(', '.join(map(str.upper, left_out)))}", highlight=False)
    for line in _notes(board, console):
        console.print(line, highlight=False)


def _widest_that_fits(board: Board, console: Console) -> tuple[Table, list[str]]:
    """The table with as much as goes into the console unbroken, and the metrics for which there is no room."""
    unlimited = console.options.update(max_width=sys.maxsize)
    for metrics, narrow, interval in _layouts(board, console.width):
        table = _table(board, console, metrics, narrow=narrow, interval=interval)
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
    return table, [metric for metric in board.metrics if metric not in metrics]


def _layouts(board: Board, width: int) -> Iterator[tuple[list[str], bool, bool]]:
    """(metrics, narrow, interval): given up first are the texts' own columns, then the interval, then metrics."""
    for interval in (True, False) if width >= WIDE else (False,):
        for narrow in (False, True) if width >= NARROW else (True,):
            yield board.metrics, narrow, interval
    others = [metric for metric in board.metrics if metric != board.by]
    for n in reversed(range(len(others))):
        yield [metric for metric in board.metrics if metric not in others[n:]], True, False


def _table(board: Board, console: Console, metrics: list[str], *, narrow: bool, interval: bool) -> Table:
    several = len(_networks(board)) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0 if narrow else 1, 0, 0), header_style="bold")
    table.add_column("")
    for name in ("cell",) if narrow else ("backbone/weights", "layers", "probe"):
        table.add_column(name, overflow="fold")
    shares = ["range %"] * board.has_shares
    for name in (*map(str.upper, metrics), *shares, "images", "unscored", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in board.finished:
        best, network = row["cell_key"] == board.best, has_network(row)
        texts = [backbone(row), row["layers"] if network else "", row["probe"]]
        if narrow:
            short = " · ".join(text for text in texts[1:] if text)
            texts = [f"{backbone(row)}\n{short}" if several and network else short]
        scores = [(score_with_interval if interval and m == board.by else score)(row, m) for m in metrics]
        scores += [percent(row, board.by)] * board.has_shares
        counts = [str(row["n_images"]), str(row["n_unscored"]), clock(own_seconds(row))]
        style = "bold green" if best else None if network else "dim"
        table.add_row(_mark(console) if best else "", *map(escape, texts), *scores, *counts, style=style)
    return table


def _networks(board: Board) -> list[str]:
    return list(dict.fromkeys(backbone(row) for row in board.finished if has_network(row)))


def _notes(board: Board, console: Console) -> Iterator[str]:
    if board.best:
        yield f"[green]{_mark(console)}[/] best cell with a network, by {board.by}"
        yield from (escape(_encodable(line, console)) for line in _tested(board, board.best))
    if board.has_shares:
        yield f"range %: how far {board.by} gets from the floor (0) to the ceiling (100)"
    if passes := ", ".join(f"{escape(name)} {clock(s)}" for name, s in shared_seconds(board).items()):
        yield f"time: a cell's own fitting and scoring; passes that cells share: {passes}"
    for name, scores in by_fold(board):
        yield f"{board.by} fold by fold: {', '.join(scores)} ({escape(name)})"
    for row in board.finished:
        if row["n_unscored"]:
            yield f"[yellow]unscored[/] {escape(label(row))}: {escape(_reasons(row))}"
    for name, warning in board.warnings:
        yield f"[yellow]warning[/] {escape(name)}: {escape(warning)}"
    for (status, reason), cells in _alike(board.others).items():
        colour = "red" if status == "failed" else "yellow"
        named = ", ".join(cells[:NAMED]) + (f" and {len(cells) - NAMED} more" if len(cells) > NAMED else "")
        yield f"[{colour}]{status}[/] {escape(named)}: {escape(reason)}"


def _alike(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Cells that share a status and its reason: a network without weights would say the same of each."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row["status"], row["error"] or "no reason given"), []).append(label(row))
    return found


def _tested(board: Board, best: str) -> Iterator[str]:
    """The best cell against the runner-up, and how many of the others it differs from."""
    tests = against(board.pairs, best, board.by)
    rivals = [tests[row["cell_key"]] for row in board.finished if has_network(row) and row["cell_key"] in tests]
    if not rivals:
        return
    first = rivals[0]
    names = (first["label_a"], first["label_b"])
    if len(_networks(board)) == 1:
        names = tuple(name.removeprefix(f"{_networks(board)[0]} · ") for name in names)
    p = f"p (Holm) {p_value(first['p_holm'])}"
    yield f"{' − '.join(names)}: {difference(first)} in {first['metric']}, {p}, {first['n']} images"
    if len(rivals) > 1:
        differ = sum(test["p_holm"] < DIFFERENT for test in rivals)
        yield f"it differs from {differ} of the {len(rivals)} other cells with a network (p (Holm) < {DIFFERENT})"


def _encodable(text: str, console: Console) -> str:
    return text if console.encoding.lower().startswith("utf") else text.replace("−", "-")


def _reasons(row: dict[str, Any]) -> str:
    """ "auc, nss: no fixations (3)": what metrics lack for one reason in as many images stands together."""
    alike: dict[tuple[str, int], list[str]] = {}
    for words, count in json.loads(row["unscored"] or "{}").items():
        metric, _, reason = words.partition(": ")
        alike.setdefault((reason, count), []).append(metric)
    return "; ".join(f"{', '.join(metrics)}: {reason} ({count})" for (reason, count), metrics in alike.items())


def clock(seconds: float) -> str:
    """ "0.4 s", "38 s", "12:05"."""
    if seconds >= 60:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _mark(console: Console) -> str:
    return "★" if console.encoding.lower().startswith("utf") else "*"
