"""The matrices in a store: what each is, and the view of it that `salprobe ui` links to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.ranking import higher_is_better
from harness.tracking.search import found_runs
from harness.tracking.store import keep_quiet
from harness.tracking.turns import own_turn
from harness.tracking.views import OURS, TAG, MatrixView

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

SHOWN = 20
"""Matrices that get a view, the latest ones."""


@dataclass(frozen=True)
class StoredMatrix:
    """One matrix of one experiment."""

    experiment: str
    view: MatrixView
    cells: int
    failed: int
    best: str
    """Its best cell and that cell's score, empty where none has one."""


def stored_matrices(uri: str) -> list[StoredMatrix]:
    """All matrices of a store, the latest first; writes their views where these are new or have changed."""
    keep_quiet()
    from mlflow import MlflowClient

    with own_turn(uri):
        client, found = MlflowClient(uri), []
        experiments = client.search_experiments()
    for experiment in experiments:
        mine = [_matrix(experiment, matrix, runs) for matrix, runs in _runs(client, experiment).items()]
        mine = sorted(mine, key=lambda matrix: matrix.view.started, reverse=True)
        with own_turn(uri):
            _write_views(client, experiment, [matrix.view for matrix in mine[:SHOWN]])
        found += mine
    return sorted(found, key=lambda matrix: matrix.view.started, reverse=True)


def _runs(client: MlflowClient, experiment: Experiment) -> dict[str, list[Run]]:
    """Runs by matrix; a cell of several matrices stands in each."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in found_runs(client, experiment.experiment_id, "tags.matrices LIKE '%'"):
        for matrix in run.data.tags["matrices"].split():
            found[matrix].append(run)
    return found


def _matrix(experiment: Experiment, matrix: str, runs: list[Run]) -> StoredMatrix:
    own = [run for run in runs if run.data.tags.get("matrix") == matrix] or runs
    about = own[0].data.tags
    ranked_by = about.get("compare", "cc")
    lower = [ranked_by] if about.get("better") == "lower" else []
    higher = higher_is_better(ranked_by, lower)
    view = MatrixView(
        matrix,
        about.get("recipe", matrix),
        about.get("dataset", ""),
        ranked_by,
        higher,
        tuple(sorted({name for run in runs for name in run.data.metrics})),
        min(run.info.start_time for run in runs),
    )
    cells = [run for run in runs if run.data.tags.get("kind") == "cell"]
    failed = sum(run.info.status != "FINISHED" for run in cells)
    return StoredMatrix(experiment.experiment_id, view, len(cells), failed, _best(cells, ranked_by, higher))


def _best(cells: list[Run], metric: str, higher: bool) -> str:
    """By the metric that ranks, of the cells with a network: observers are the ceiling, not a candidate."""
    scored = [run for run in cells if metric in run.data.metrics and run.data.tags.get("backbone") != "none"]
    if not scored:
        return ""
    sign = 1 if higher else -1
    best = max(scored, key=lambda run: sign * run.data.metrics[metric])
    return f"{best.info.run_name} ({metric} {best.data.metrics[metric]:.3f})"


def _write_views(client: MlflowClient, experiment: Experiment, views: list[MatrixView]) -> None:
    """Ours only, and no more than SHOWN of them: people save views of their own beside them, and the UI takes 40."""
    wanted = {view.key: view.tag() for view in views}
    for name, value in wanted.items():
        if experiment.tags.get(name) != value:
            client.set_experiment_tag(experiment.experiment_id, name, value)
    for name in experiment.tags:
        if name.startswith(TAG + OURS) and name not in wanted:
            client.delete_experiment_tag(experiment.experiment_id, name)
