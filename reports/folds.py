"""How a cell's score differs between folds, for results of a recipe that lists several."""

from __future__ import annotations

from collections.abc import Iterator

from harness.results import read_folds
from reports._board import Board, label


def by_fold(board: Board) -> Iterator[tuple[str, list[str]]]:
    """(cell, its ranking metric's mean in each fold), best cell first; nothing for a run without folds."""
    frame = read_folds(board.folder)
    if frame is None or board.by is None:
        return
    for row in board.finished:
        scores = frame[frame.cell_key == row["cell_key"]].sort_values("fold")[board.by]
        yield label(row), ["–" if score != score else f"{score:.3f}" for score in scores]
