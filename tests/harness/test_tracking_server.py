from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from harness.tracking import ui_command, ui_environment
from tests.harness.test_tracking import finished, free_port, record, track


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
    assert local.picture is not None
    for logged in found:
        query = urlencode({"run_id": logged["info"]["run_id"], "path": "pictures/contact_sheet.png"})
        assert fetch(f"{server}/get-artifact?{query}") == local.picture.read_bytes()
