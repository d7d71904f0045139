"""A disk that fills up under the MLflow store, and a server that is away: the run is whole, and is logged later."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import TrackingError
from harness.results import read_cells, read_per_image
from harness.tracking.store import DATABASE
from tests.harness.small_run import RECIPE
from tests.harness.tracked import free_port, runs

pytestmark = pytest.mark.slow


def salprobe(*arguments: str, largest_file: int | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which cannot write a larger file than that."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}, **variables}
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=limit)


def recipe(folder: Path) -> tuple[str, int]:
    """A recipe of four cells, none of which fails; its file and their number."""
    small: dict[str, Any] = {**RECIPE, "layers": ["stem", "layer1"], "probes": ["ridge", "centre", "observers"]}
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(small))
    return str(file), 4


def assert_whole_and_logged_later(out: Path, done: subprocess.CompletedProcess[str], cells: int) -> None:
    said = " ".join(done.stdout.split())
    assert done.returncode == TrackingError.exit_code, done.stderr
    assert "MLflow was not written" in said
    assert f"track {out / 'small'}" in said.replace("\n", "")
    table = read_cells(out / "small")
    assert table.status.tolist() == ["finished"] * cells
    assert len(read_per_image(out / "small")) == cells * 4
    later = salprobe("track", str(out / "small"), "--uri", f"sqlite:///{(out / DATABASE).as_posix()}")
    assert later.returncode == 0, later.stderr
    kept = [run for run in runs(out) if run.data.tags.get("kind") == "cell"]
    assert {run.data.tags["cell_key"] for run in kept if run.info.status == "FINISHED"} == set(table.cell_key)
    assert all(run.info.status in ("FINISHED", "FAILED") for run in kept)


def test_a_full_disk_under_the_store(mlflow_store: Path) -> None:
    file, cells = recipe(mlflow_store)
    room = (mlflow_store / DATABASE).stat().st_size + 4096
    done = salprobe("run", file, "--out", str(mlflow_store), largest_file=room)
    assert_whole_and_logged_later(mlflow_store, done, cells)


def test_a_server_that_is_away(mlflow_store: Path) -> None:
    file, cells = recipe(mlflow_store)
    away = f"http://127.0.0.1:{free_port()}"
    done = salprobe("run", file, "--out", str(mlflow_store), MLFLOW_TRACKING_URI=away)
    assert_whole_and_logged_later(mlflow_store, done, cells)
