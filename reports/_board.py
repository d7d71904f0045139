"""A finished run's cells in the order in which people read them: best first, what did not run last."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness._yaml import read_yaml
from harness.cells import NO_BACKBONE
from harness.errors import ResultsError
from harness.flags import UNSCORED, unscored_words
from harness.left_out import left_out_words
from harness.overlap import overlap_words
from harness.ranking import LOWER, higher_is_better
from harness.results import RECIPE, RUN, interval_columns, read_cells, share_columns
from harness.shown import shown
from reports._pairs import read_tests

NOT_METRICS = {
    *("cell_key", "dataset", "backbone", "weights", "weights_sha256", "layers", "depth", "probe", "seed", "bound"),
    *("n_images", "n_unscored", "n_constant", "unscored", "warnings", "flags", "status", "error"),
}
SHARED = ("time_train_", "time_test_")
"""Time columns of passes that feed all cells of a backbone; every such cell's row has the same value."""


@dataclass(frozen=True)
class Board:
    """One results folder, ranked by `by`."""

    folder: Path
    recipe: str
    dataset: str
    metrics: list[str]
    by: str | None
    finished: list[dict[str, Any]]
    others: list[dict[str, Any]]
    """Failed and skipped cells."""
    best: str | None
    """The key of the best cell that has a network: baselines and the observers' ceiling do not compete."""
    pairs: list[dict[str, Any]]
    """The paired tests between cells; empty where the run made none."""
    about: dict[str, Any]
    """run.json; empty where it cannot be read."""

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """(cell, warning) wherever a finished cell has one, after what goes for all cells."""
        dataset = self.about.get("dataset", {})
        found = [("every cell", words) for words in (overlap_words(dataset), left_out_words(dataset)) if words]
        return found + [(label(row), words) for row in self.finished for words in _warnings(row)]

    @property
    def has_shares(self) -> bool:
        """Whether some cell's share of the explainable range is known for the ranking metric."""
        return any(share(row, self.by) is not None for row in self.finished)


def read_boards(folders: Sequence[Path], by: str | None = None) -> dict[str, Board]:
    """Boards by the folder's name, with the parent's where two are called the same; raises ResultsError."""
    paths = list(dict.fromkeys(folder.resolve() for folder in folders))
    names = [path.name for path in paths]
    return {
        shown(path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}"): read_board(path, by)
        for path in paths
    }


def read_board(folder: Path, by: str | None = None) -> Board:
    """The cells of a results folder, ranked by `by` or else the recipe's metric; raises ResultsError."""
    frame = read_cells(folder)
    metrics = [name for name in frame.columns if _is_metric(name)]
    if by is not None and by not in metrics:
        raise ResultsError(f"{folder} has no metric {by!r} to rank by; it has {', '.join(metrics) or 'none'}")
    recipe = read_recipe(folder)
    about = read_about(folder)
    by = next((name for name in (by, recipe.get("compare"), "cc", *metrics) if name in metrics), None)
    if by is not None:
        higher = higher_is_better(by, about.get(LOWER, ()))
        frame = frame.sort_values(by, ascending=not higher, na_position="last", kind="stable")
    rows = [_plain(row) for row in frame.to_dict("records")]
    finished = [row for row in rows if row["status"] == "finished"]
    best = next((row["cell_key"] for row in finished if has_network(row) and by and row[by] is not None), None)
    dataset = " + ".join(dict.fromkeys(row["dataset"] for row in rows))
    others = [row for row in rows if row["status"] != "finished"]
    name = str(recipe.get("name") or shown(folder.resolve().name))
    return Board(folder, name, dataset, metrics, by, finished, others, best, read_tests(folder), about)


def has_network(row: dict[str, Any]) -> bool:
    """Whether a backbone was read."""
    return bool(row["backbone"] != NO_BACKBONE)


def backbone(row: dict[str, Any]) -> str:
    """ "resnet50/caffe", or nothing for a cell that needs no network."""
    return f"{row['backbone']}/{row['weights']}" if has_network(row) else ""


def label(row: dict[str, Any]) -> str:
    """The cell's name."""
    return f"{backbone(row)} · {row['layers']} · {row['probe']}" if has_network(row) else str(row["probe"])


def interval(row: dict[str, Any], metric: str) -> tuple[float, float] | None:
    """The 95 % interval of the mean, if it is known."""
    low, high = (row.get(name) for name in interval_columns(metric))
    return None if low is None or high is None else (float(low), float(high))


def score(row: dict[str, Any], metric: str) -> str:
    """ "0.713", or a dash."""
    return "–" if row.get(metric) is None else f"{row[metric]:.3f}"


def score_with_interval(row: dict[str, Any], metric: str) -> str:
    """ "0.713 [0.698, 0.727]", as far as it is known."""
    ends = interval(row, metric)
    return score(row, metric) + ("" if ends is None else f" [{ends[0]:.3f}, {ends[1]:.3f}]")


def share(row: dict[str, Any], metric: str | None) -> float | None:
    """The row's share of the range from the floor to the ceiling, if it is known."""
    return row.get(share_columns(metric)[0]) if metric else None


def percent(row: dict[str, Any], metric: str | None) -> str:
    """ "61", or a dash: the share of the explainable range in percent."""
    value = share(row, metric)
    return "–" if value is None else str(round(100 * value))


def flags(row: dict[str, Any]) -> list[str]:
    """What the row's numbers are to be doubted for, a word each."""
    return str(row.get("flags") or (UNSCORED if row["n_unscored"] else "")).split()


def _warnings(row: dict[str, Any]) -> Iterator[str]:
    if row.get("warnings"):
        yield str(row["warnings"])
    if row["n_unscored"]:
        yield unscored_words(json.loads(row["unscored"] or "{}"), row["n_unscored"], row["n_images"])


def own_seconds(row: dict[str, Any]) -> float:
    """Fitting and scoring this cell alone, without the passes it shares."""
    columns = (name for name in row if name.startswith("time_") and not name.startswith(SHARED))
    return float(sum(row[name] or 0 for name in columns))


def shared_seconds(board: Board) -> dict[str, float]:
    """Seconds of the passes through each backbone, which its cells share."""
    found = {name or "without a network": sum(each.values()) for name, each in shared_passes(board.finished).items()}
    return {name: seconds for name, seconds in found.items() if seconds}


def shared_passes(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By backbone the seconds of what its cells share, by column.

    Every cell has those of the run that computed it, the same as its neighbours: each run's count once.
    """
    runs: defaultdict[str, set[tuple[tuple[str, float], ...]]] = defaultdict(set)
    for row in rows:
        runs[backbone(row)].add(tuple((name, row[name] or 0.0) for name in row if name.startswith(SHARED)))
    found: dict[str, dict[str, float]] = {}
    for name, each in runs.items():
        found[name] = dict.fromkeys((column for run in each for column, _ in run), 0.0)
        for column, seconds in (part for run in each for part in run):
            found[name][column] += seconds
    return found


def _is_metric(name: str) -> bool:
    return (
        name not in NOT_METRICS and not name.startswith(("time_", "share_")) and not name.endswith(interval_columns(""))
    )


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """The row with None for every missing value."""
    return {str(name): None if value != value else value for name, value in row.items()}


def read_about(folder: Path) -> dict[str, Any]:
    """run.json of a results folder; empty where it cannot be read."""
    try:
        document = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def read_recipe(folder: Path) -> dict[str, Any]:
    """The recipe as it was run; empty where it cannot be read."""
    try:
        document = read_yaml(folder / RECIPE)
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
