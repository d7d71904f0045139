"""The leaderboard in short, for the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.flags import MEANING, UNSCORED
from reports._board import (
    Board,
    backbone,
    flags,
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
NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")
NARROW, WIDE = 100, 120
"""Below the first so many characters a row's text columns become one; from the second on there is an interval."""


def print_leaderboard(folder: Path, console: Console | None = None, reused: Collection[str] = frozenset()) -> None:
    """Print a results folder: ranked cells, then what failed, was skipped or deserves a warning.

    `reused` are the keys of cells that this run did not compute.
    """
    console = console or Console()
    board = read_board(folder)
    colour = "bold yellow" if "synthetic" in board.dataset else "bold"
    networks = _networks(board)
    where = f" with {escape(networks[0])}" if len(networks) == 1 else ""
    console.print(f"\n[bold]{escape(board.recipe)}[/] on [{colour}]{escape(board.dataset)}[/]{where}", highlight=False)
    if board.finished:
        table, left_out = _widest_that_fits(board, console, reused)
        console.print(table)
        if left_out:
            console.print(f"no room for {escape(', '.join(map(str.upper, left_out)))}", highlight=False)
    for line in _notes(board, console):
        console.print(line, highlight=False)


def _widest_that_fits(board: Board, console: Console, reused: Collection[str]) -> tuple[Table, list[str]]:
    """The table with as much as goes into the console unbroken, and the metrics for which there is no room."""
    unlimited = console.options.update(max_width=sys.maxsize)
    for metrics, narrow, interval in _layouts(board, console.width):
        table = _table(board, console, metrics, narrow=narrow, interval=interval, reused=reused)
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


def _table(
    board: Board, console: Console, metrics: list[str], *, narrow: bool, interval: bool, reused: Collection[str]
) -> Table:
    several = len(_networks(board)) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0 if narrow else 1, 0, 0), header_style="bold")
    table.add_column("")
    for name in ("cell",) if narrow else ("backbone/weights", "layers", "probe"):
        table.add_column(name, overflow="fold")
    shares = ["range %"] * board.has_shares
    raised, marks = _raised(board), [""] * bool(reused)
    for name in (*map(str.upper, metrics), *shares, "images", "unscored", "time", *["!"] * bool(raised), *marks):
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
        counts += ["".join(flag[0] for flag in raised if flag in flags(row))] * bool(raised)
        counts += ["reused" if row["cell_key"] in reused else ""] * bool(reused)
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
    if raised := _raised(board):
        yield "!: " + ", ".join(f"{flag[0]} {MEANING.get(flag, flag)}" for flag in raised)
    told = [("warning", words, name) for name, words in board.warnings]
    told += [(row["status"], row["error"] or "no reason given", label(row)) for row in board.others]
    for (kind, words), cells in _alike(told).items():
        named = ", ".join(cells[:NAMED]) + (f" and {len(cells) - NAMED} more" if len(cells) > NAMED else "")
        yield f"[{'red' if kind == 'failed' else 'yellow'}]{kind}[/] {escape(named)}: {escape(words)}"


def _alike(told: list[tuple[str, str, str]]) -> dict[tuple[str, str], list[str]]:
    """Cells by what is told of them: a network without weights would say the same of each.

    Warnings that differ in numbers only are told once, with those of the first.
    """
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for kind, words, name in told:
        same = NUMBER.sub("#", words) if kind == "warning" else words
        found.setdefault((kind, same), []).append((words, name))
    return {
        (kind, cells[0][0] + " (the numbers differ)" * (len({words for words, _ in cells}) > 1)): [n for _, n in cells]
        for (kind, _), cells in found.items()
    }


def _raised(board: Board) -> list[str]:
    """The flags that some cell has; unscored images have a column of their own."""
    return sorted({flag for row in board.finished for flag in flags(row)} - {UNSCORED})


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


def clock(seconds: float) -> str:
    """ "0.4 s", "38 s", "12:05"."""
    if seconds >= 60:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _mark(console: Console) -> str:
    return "★" if console.encoding.lower().startswith("utf") else "*"
