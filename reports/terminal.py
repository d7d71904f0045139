"""The leaderboard in short, for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reports._board import Board, backbone, has_network, label, own_seconds, read_board, shared_seconds

NARROW = 100
"""Below so many characters a row's text columns become one."""


def print_leaderboard(folder: Path, console: Console | None = None) -> None:
    """Print a results folder: ranked cells, then what failed, was skipped or deserves a warning."""
    console = console or Console()
    board = read_board(folder)
    colour = "bold yellow" if "synthetic" in board.dataset else "bold"
    networks = _networks(board)
    where = f" with {escape(networks[0])}" if len(networks) == 1 else ""
    console.print(f"\n[bold]{escape(board.recipe)}[/] on [{colour}]{escape(board.dataset)}[/]{where}", highlight=False)
    if board.finished:
        console.print(_table(board, console))
    for line in _notes(board, console):
        console.print(line, highlight=False)


def _table(board: Board, console: Console) -> Table:
    narrow, several = console.width < NARROW, len(_networks(board)) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0 if narrow else 1, 0, 0), header_style="bold")
    table.add_column("")
    for name in ("cell",) if narrow else ("backbone/weights", "layers", "probe"):
        table.add_column(name, overflow="fold")
    for name in (*map(str.upper, board.metrics), "images", "unscored", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in board.finished:
        best, network = row["cell_key"] == board.best, has_network(row)
        texts = [backbone(row), row["layers"] if network else "", row["probe"]]
        if narrow:
            short = " · ".join(text for text in texts[1:] if text)
            texts = [f"{backbone(row)}\n{short}" if several and network else short]
        scores = [_score(row[name]) for name in board.metrics]
        counts = [str(row["n_images"]), str(row["n_unscored"]), clock(own_seconds(row))]
        style = "bold green" if best else None if network else "dim"
        table.add_row(_mark(console) if best else "", *map(escape, texts), *scores, *counts, style=style)
    return table


def _networks(board: Board) -> list[str]:
    return list(dict.fromkeys(backbone(row) for row in board.finished if has_network(row)))


def _notes(board: Board, console: Console) -> Iterator[str]:
    if board.best:
        yield f"[green]{_mark(console)}[/] best cell with a network, by {board.by}"
    if passes := ", ".join(f"{escape(name)} {clock(s)}" for name, s in shared_seconds(board).items()):
        yield f"time: a cell's own fitting and scoring; passes that cells share: {passes}"
    for row in board.finished:
        if row["n_unscored"]:
            yield f"[yellow]unscored[/] {escape(label(row))}: {escape(_reasons(row))}"
    for name, warning in board.warnings:
        yield f"[yellow]warning[/] {escape(name)}: {escape(warning)}"
    for row in board.others:
        colour = "red" if row["status"] == "failed" else "yellow"
        yield f"[{colour}]{row['status']}[/] {escape(label(row))}: {escape(row['error'] or 'no reason given')}"


def _reasons(row: dict[str, Any]) -> str:
    return ", ".join(f"{reason} ({count})" for reason, count in json.loads(row["unscored"] or "{}").items())


def clock(seconds: float) -> str:
    """ "0.4 s", "38 s", "12:05"."""
    if seconds >= 60:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _score(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _mark(console: Console) -> str:
    return "★" if console.encoding.lower().startswith("utf") else "*"
