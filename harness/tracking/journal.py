"""One MLflow experiment, open for writing: a flat run for every cell and layer curve, found again by its key."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.album import Album
from harness.results import CellResult, RunRecord
from harness.tracking.datasets import dataset_inputs
from harness.tracking.experiment import open_experiment
from harness.tracking.files import stage
from harness.tracking.layer_curves import LayerCurve, layer_curves
from harness.tracking.logged_model import log_readout
from harness.tracking.record import CURVES, Point, data_id, params, points, run_name, tags
from harness.tracking.search import found_runs
from harness.tracking.store import keep_quiet, make_store
from harness.tracking.turns import own_turn

if TYPE_CHECKING:
    from mlflow.entities import Run

MOST_METRICS, MOST_TAGS = 900, 90
"""What goes into one batch (MLflow takes 1000 in all, of them 100 tags)."""


class Journal:
    """Writes the cells of one run. Every method may raise whatever MLflow raises."""

    def __init__(self, run: RunRecord, uri: str) -> None:
        keep_quiet()
        from mlflow import MlflowClient

        self.run, self.uri = run, uri
        with own_turn(uri):
            make_store(uri)
            self.client = MlflowClient(uri)
            self.experiment = open_experiment(self.client, run.recipe.tracking.experiment, uri)
        self._known: dict[str, list[Run]] = defaultdict(list)
        # one search for all runs whose keys may be met, instead of one a cell
        for earlier in found_runs(self.client, self.experiment, f"tags.data = '{data_id(run)}'"):
            self._known[earlier.data.tags.get("cell_key", "")].append(earlier)
        self._inputs = dataset_inputs(run)
        self._album = Album(run.folder)  # one for all cells: they show the same images
        self._finished: list[CellResult] = []
        self._open: str | None = None
        self._started = 0

    def record(self, result: CellResult) -> str:
        """Write a finished or failed cell; returns the run's id.

        A finished run of the same key is brought up to date in place; an unfinished one is replaced.
        """
        with own_turn(self.uri):
            return self._record(result)

    def _record(self, result: CellResult) -> str:
        earlier = self._known.pop(result.key, [])
        done = next((run for run in earlier if run.info.status == "FINISHED"), None)
        reused = done if result.status == "finished" else None
        labels = self._labels(tags(self.run, result), reused)
        run_id = str(reused.info.run_id) if reused else self._create(run_name(result.label), labels)
        self._write_cell(run_id, result, labels, reused)
        self._end(run_id, "FINISHED" if result.status == "finished" else "FAILED", reused)
        self._delete(run for run in earlier if run.info.status != "FINISHED")
        if result.status == "finished":
            self._finished.append(result)
        return run_id

    def record_curves(self) -> None:
        """Write the layer curves of the cells recorded; a curve that is there already is left alone."""
        for curve in layer_curves(self._finished):
            labels = curve.tags(self.run)
            earlier = self._known.pop(curve.key(self.run), [])
            if any(run.data.tags.get("points") == labels["points"] for run in earlier):
                continue
            with own_turn(self.uri):
                self._write_curve(curve, labels)
                self._delete(earlier)

    def close(self, status: str) -> None:
        """End the run that a crash or an interrupt left open, if there is one."""
        if self._open:
            with own_turn(self.uri):
                self.client.set_terminated(self._open, status)
            self._open = None

    def _labels(self, labels: dict[str, str], reused: Run | None) -> dict[str, str]:
        """With all matrices that the cell has been part of."""
        earlier = reused.data.tags.get("matrices", "") if reused else ""
        return {**labels, "matrices": " ".join(dict.fromkeys([*earlier.split(), self.run.matrix_id]))}

    def _create(self, name: str, labels: Mapping[str, str]) -> str:
        self._started = _now()
        created = self.client.create_run(self.experiment, self._started, tags=dict(labels), run_name=name)
        self._open = str(created.info.run_id)
        return self._open

    def _end(self, run_id: str, status: str, reused: Run | None) -> None:
        if reused is None:
            self.client.set_terminated(run_id, status)
        self._open = None

    def _delete(self, runs: Iterator[Run] | Sequence[Run]) -> None:
        for run in runs:
            self.client.delete_run(run.info.run_id)

    def _write_cell(self, run_id: str, result: CellResult, labels: dict[str, str], reused: Run | None) -> None:
        found, nonfinite = points(self.run, result)
        settings = params(self.run, result)
        known = reused.data.tags if reused else {}
        labels = {**(labels if reused else {}), **nonfinite}
        labels |= log_readout(self.client, self.experiment, run_id, result, known)
        if reused:  # params are for ever, and a curve that is there already would be drawn twice
            settings = {name: value for name, value in settings.items() if name not in reused.data.params}
            found = [p for p in found if reused.data.metrics.get(p[0]) != p[1]]
            found = [p for p in found if p[0] not in reused.data.metrics or p[0] not in CURVES]
        if not (reused and reused.inputs and reused.inputs.dataset_inputs):
            self.client.log_inputs(run_id, datasets=self._inputs)
        created = int(reused.info.start_time) if reused else self._started
        with tempfile.TemporaryDirectory(prefix="salprobe-") as name:
            labels |= stage(self.run, result, self._album, Path(name), created)
            self.client.log_artifacts(run_id, name)
        self._log(run_id, found, settings, labels)

    def _write_curve(self, curve: LayerCurve, labels: dict[str, str]) -> None:
        run_id = self._create(run_name(curve.label), self._labels(labels, None))
        self.client.log_inputs(run_id, datasets=self._inputs)
        self._log(run_id, curve.points(), {}, {})
        self._end(run_id, "FINISHED", None)

    def _log(self, run_id: str, found: list[Point], settings: dict[str, str], labels: dict[str, str]) -> None:
        """In one batch where it fits."""
        from mlflow.entities import Metric, Param, RunTag

        now = _now()
        metrics = [Metric(name, value, now, step) for name, value, step in found]
        texts = [RunTag(name, value) for name, value in labels.items()]
        chosen = [Param(name, value) for name, value in settings.items()]
        while metrics or texts or chosen:
            room = MOST_METRICS - MOST_TAGS
            self.client.log_batch(run_id, metrics[:room], chosen[:MOST_TAGS], texts[:MOST_TAGS])
            metrics, chosen, texts = metrics[room:], chosen[MOST_TAGS:], texts[MOST_TAGS:]


def _now() -> int:
    return int(time.time() * 1000)
