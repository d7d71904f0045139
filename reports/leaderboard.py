"""The leaderboard as files: leaderboard.csv for programs, leaderboard.md for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.files import make_folder, replace
from harness.results import RECIPE, interval_columns, share_columns
from reports._board import (
    Board,
    backbone,
    flags,
    has_network,
    label,
    own_seconds,
    percent,
    score,
    score_with_interval,
)
from reports._pairs import against, difference, p_value
from reports.folds import by_fold
from reports.provenance import facts


def write_leaderboard(boards: Mapping[str, Board], out: Path) -> list[Path]:
    """Write both files into `out`; several runs are told apart by a `run` column."""
    import pandas as pd

    table, page = out / "leaderboard.csv", out / "leaderboard.md"
    make_folder(out)
    rows = [row for name, board in boards.items() for row in _rows(name, board)]
    if len(boards) == 1:
        rows = [{key: value for key, value in row.items() if key != "run"} for row in rows]
    replace(table, pd.DataFrame(rows).to_csv(index=False).encode())
    replace(page, ("\n".join(_page(boards)) + "\n").encode())
    return [table, page]


def _rows(name: str, board: Board) -> Iterator[dict[str, Any]]:
    for row in [*board.finished, *board.others]:
        yield {
            "run": name,
            **{key: row[key] for key in ("dataset", "backbone", "weights", "layers", "probe", "seed")},
            **{metric: row[metric] for metric in board.metrics},
            **{name: row[name] for metric in board.metrics for name in interval_columns(metric) if name in row},
            **{name: row[name] for metric in board.metrics for name in share_columns(metric) if name in row},
            "n_images": row["n_images"],
            "n_unscored": row["n_unscored"],
            "seconds": round(own_seconds(row), 3),
            "best": row["cell_key"] == board.best,
            "status": row["status"],
            "note": row["error"] or row["warnings"],
            "flags": " ".join(flags(row)),
            "cell_key": row["cell_key"],
        }


def _page(boards: Mapping[str, Board]) -> Iterator[str]:
    datasets = " and ".join(dict.fromkeys(board.dataset for board in boards.values()))
    yield from (f"# {' and '.join(dict.fromkeys(b.recipe for b in boards.values()))} on {datasets}", "")
    if "synthetic" in datasets:
        yield from ("**Synthetic images and gaze: not a measurement of people.**", "")
    yield from _table(boards)
    yield ""
    if any(board.best for board in boards.values()):
        yield "Bold: the best cell with a network. Rows without a backbone are the floors and the observers' ceiling."
    if any(interval_columns(board.by)[0] in row for board in boards.values() if board.by for row in board.finished):
        yield "In brackets: 95 % bootstrap interval of the mean over images."
    for metric in dict.fromkeys(board.by for board in boards.values() if board.has_shares):
        yield f"Range %: how far {metric} gets from the floor (0) to the ceiling (100)."
    for name, board in boards.items():
        yield from ["", f"## {name}"] * (len(boards) > 1)
        yield from _paired(board, "###" if len(boards) > 1 else "##")
        yield from _list(f"{board.by} fold by fold", [(cell, ", ".join(scores)) for cell, scores in by_fold(board)])
        yield from _list("Warnings", board.warnings)
        yield from _list("Did not finish", [(label(row), f"{row['status']}: {row['error']}") for row in board.others])
        yield from _provenance(name, board)


def _table(boards: Mapping[str, Board]) -> Iterator[str]:
    named = len(boards) > 1
    metrics = list(dict.fromkeys(metric for board in boards.values() for metric in board.metrics))
    texts = [*(["run"] if named else []), "backbone/weights", "layers", "probe"]
    shares = any(board.has_shares for board in boards.values())
    numbers = [*metrics, *["range %"] * shares, "images", "unscored", "seconds"]
    yield _line([*texts, *numbers])
    yield _line([*("---" for _ in texts), *("---:" for _ in numbers)])
    for name, board in boards.items():
        for row in board.finished:
            cells = [
                *([name] if named else []),
                *(backbone(row), row["layers"] if has_network(row) else "", row["probe"]),
                *((score_with_interval if metric == board.by else score)(row, metric) for metric in metrics),
                *[percent(row, board.by)] * shares,
                *(str(row["n_images"]), str(row["n_unscored"]), f"{own_seconds(row):.1f}"),
            ]
            yield _line([f"**{cell}**" if cell and row["cell_key"] == board.best else cell for cell in cells])


def _paired(board: Board, heading: str) -> Iterator[str]:
    """The best cell against every other one."""
    tests = against(board.pairs, board.best or "", board.by)
    others = [tests[row["cell_key"]] for row in board.finished if row["cell_key"] in tests]
    if not others:
        return
    yield from ("", f"{heading} {others[0]['label_a']} minus each other cell, {board.by}", "")
    yield _line(["other cell", "difference, 95 % interval", "p", "p (Holm)", "images"])
    yield _line(["---", "---:", "---:", "---:", "---:"])
    for test in others:
        p = (p_value(test[name]).removeprefix("= ") for name in ("p_value", "p_holm"))
        yield _line([test["label_b"], difference(test), *p, str(test["n"])])
    yield ""
    yield (
        "Paired over images: percentile bootstrap and a two-sided sign-flip permutation test, "
        f"Holm's correction over all {len(board.pairs)} pairs of cells."
    )


def _provenance(name: str, board: Board) -> Iterator[str]:
    yield ""
    yield "Made from " + "; ".join(f"{name}: {value}" for name, value in facts(board).items()) + "."
    if (board.folder / RECIPE).is_file():
        yield from ("", f"Again: `salprobe run results/{name}/{RECIPE}`")


def _list(heading: str, items: Sequence[tuple[str, str]]) -> Iterator[str]:
    if items:
        yield from ("", f"{heading}:", "", *(f"- {name}: {' '.join(text.split())}" for name, text in items))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
