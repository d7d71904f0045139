from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from harness.progress import Silent
from harness.results import CONTACT_SHEET
from harness.tracking import ui_command, ui_environment
from harness.tracking.later import track_folders
from harness.tracking.record import ALPHA_PATH
from tests.harness.small_run import Told
from tests.harness.tracked import finished, free_port, record, track


@pytest.fixture
def server(mlflow_store: Path) -> Iterator[str]:
    """`mlflow server` as `salprobe ui` starts it."""
    port = free_port()
    with (mlflow_store / "server.log").open("w") as log:
        process = subprocess.Popen(ui_command(mlflow_store, port), env=ui_environment(), stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
        except OSError:
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"the MLflow server did not answer (exit code {process.poll()})")


def fetch(url: str, body: dict[str, Any] | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


@pytest.mark.slow
def test_the_ui_shows_runs_and_artifacts_and_takes_new_ones_over_http(mlflow_store: Path, server: str) -> None:
    run = record(mlflow_store)
    local = finished(run)
    track(run, local)
    remote = record(mlflow_store, uri=server)
    assert track(remote, finished(remote, "k2")).error is None

    assert b"<!doctype html>" in fetch(server).lower()
    api = f"{server}/api/2.0/mlflow"
    name = run.recipe.tracking.experiment
    experiment = json.loads(fetch(f"{api}/experiments/get-by-name?{urlencode({'experiment_name': name})}"))
    ids = [experiment["experiment"]["experiment_id"]]
    found = json.loads(fetch(f"{api}/runs/search", {"experiment_ids": ids, "filter": "tags.matrix = 'm1'"}))["runs"]
    keys = {tag["value"] for r in found for tag in r["data"]["tags"] if tag["key"] == "cell_key"}
    assert keys == {"k1", "k2"}
    assert local.folder is not None
    for logged in found:
        query = urlencode({"run_id": logged["info"]["run_id"], "path": CONTACT_SHEET})
        assert fetch(f"{server}/get-artifact?{query}") == (local.folder / CONTACT_SHEET).read_bytes()


@pytest.mark.slow
def test_a_server_gets_model_table_and_pictures_and_keeps_negative_steps(
    mlflow_store: Path, server: str, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it over HTTP alone, from the files of a finished run; a second time adds nothing."""
    import mlflow

    for _ in range(2):
        track_folders([told.record.folder], server, Silent())
    client = mlflow.MlflowClient(server)
    experiment = client.get_experiment_by_name(told.record.recipe.tracking.experiment)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == len(told.results) + 1
    assert {run.info.status for run in found} == {"FINISHED", "FAILED"}
    run = next(run for run in found if run.info.run_name == "layer1 · ridge · resnet50/random")
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, ALPHA_PATH)]
    assert min(steps) < 0 < max(steps)
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert len(images) == 4
    for path in images:
        query = urlencode({"run_id": run.info.run_id, "path": path})
        assert fetch(f"{server}/get-artifact?{query}")[8:12] == b"WEBP"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    table = client.load_table(experiment.experiment_id, "per_image.parquet", [run.info.run_id])
    assert len(table) == told.record.dataset["test"]["images"]
    (output,) = run.outputs.model_outputs
    model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    assert model.predict(np.zeros((1, 64, 96, 3), np.uint8)).shape == (1, 64, 96)
