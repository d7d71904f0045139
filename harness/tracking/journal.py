"""One MLflow experiment, open for writing: a flat run for every cell, found again by its key."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.results import CONTACT_SHEET, RECIPE, CellResult, RunRecord
from harness.tracking.record import CURVES, params, points, tags
from harness.tracking.store import artifact_location, keep_quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Makes the UI open on the table of runs, not on traces."""


class Journal:
    """Writes the cells of one run. Every method may raise whatever MLflow raises."""

    def __init__(self, run: RunRecord, uri: str) -> None:
        keep_quiet()
        from mlflow import MlflowClient

        self.run, self.client = run, MlflowClient(uri)
        self.experiment = _experiment(self.client, run.recipe.tracking.experiment, artifact_location(uri))
        self._open: str | None = None

    def record(self, result: CellResult) -> str:
        """Write a finished or failed cell; returns the run's id.

        A finished run of the same key is brought up to date in place; an unfinished one is replaced.
        """
        earlier = self._earlier(result.key)
        done = next((run for run in earlier if run.info.status == "FINISHED"), None)
        reused = done if result.status == "finished" else None
        run_id = reused.info.run_id if reused else self._create(result)
        self._write(run_id, result, reused)
        self.client.set_terminated(run_id, "FINISHED" if result.status == "finished" else "FAILED")
        self._open = None
        for run in earlier:
            if run.info.status != "FINISHED":
                self.client.delete_run(run.info.run_id)
        return run_id

    def close(self, status: str) -> None:
        """End the run that a crash or an interrupt left open, if there is one."""
        if self._open:
            self.client.set_terminated(self._open, status)
            self._open = None

    def _earlier(self, key: str) -> list[Run]:
        return list(self.client.search_runs([self.experiment], f"tags.cell_key = '{key}'"))

    def _create(self, result: CellResult) -> str:
        created = self.client.create_run(self.experiment, tags={"cell_key": result.key}, run_name=result.label)
        self._open = str(created.info.run_id)
        return self._open

    def _write(self, run_id: str, result: CellResult, reused: Run | None) -> None:
        from mlflow.entities import Metric, Param, RunTag

        known = reused.data if reused else None
        found, nonfinite = points(self.run, result)
        labels = {**tags(self.run, result), **nonfinite}
        labels["matrices"] = _with_word(known.tags.get("matrices", "") if known else "", self.run.matrix_id)
        settings = params(self.run, result)
        if known:  # params are for ever, and a curve that is there already would be drawn twice
            settings = {name: value for name, value in settings.items() if name not in known.params}
            found = [p for p in found if known.metrics.get(p[0]) != p[1]]
            found = [p for p in found if p[0] not in known.metrics or p[0] not in CURVES.values()]
        now = int(time.time() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, value, now, step) for name, value, step in found],
            params=[Param(name, value) for name, value in settings.items()],
            tags=[RunTag(name, value) for name, value in labels.items()],
        )
        self._write_files(run_id, result)

    def _write_files(self, run_id: str, result: CellResult) -> None:
        with tempfile.TemporaryDirectory(prefix="salprobe-") as name:
            self._stage(Path(name), result)
            self.client.log_artifacts(run_id, name)
        if result.folder is not None and (result.folder / "readout.json").is_file():
            self.client.log_artifacts(run_id, str(result.folder), "readout")

    def _stage(self, folder: Path, result: CellResult) -> None:
        documents = {"cell": result.identity, "info": result.info, "environment": self.run.environment}
        for name, document in documents.items():
            (folder / f"{name}.json").write_text(_json(document), encoding="utf-8")
        if result.error:
            (folder / "error.txt").write_text(result.error + "\n", encoding="utf-8")
        if (recipe := self.run.folder / RECIPE).is_file():
            shutil.copy(recipe, folder)
        if result.folder is not None and (picture := result.folder / CONTACT_SHEET).is_file():
            (folder / "pictures").mkdir()
            shutil.copy(picture, folder / "pictures")


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """The id of the experiment of that name, made or taken out of the bin if need be."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=artifacts, tags=EXPERIMENT_TAGS))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _with_word(text: str, word: str) -> str:
    return " ".join(dict.fromkeys([*text.split(), word]))


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, default=str)
