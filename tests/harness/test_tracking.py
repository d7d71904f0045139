from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cells import NO_BACKBONE
from harness.errors import TrackingError
from harness.tracking import MlflowObserver, store_uri, ui_command
from harness.tracking.record import ALPHA_PATH, MAX_POINTS, thin
from tests.harness.tracked import client, failed, finished, free_port, record, runs, track


def test_importing_the_tracking_does_not_import_mlflow() -> None:
    code = "import sys, harness.tracking; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cell_becomes_a_flat_run_that_can_be_filtered(mlflow_store: Path) -> None:
    run = record(mlflow_store)
    observer = track(run, finished(run))
    assert observer.error is None
    (logged,) = runs(mlflow_store)
    assert logged.info.run_name == "layer2+layer3 · ridge · resnet50/caffe"
    assert logged.info.status == "FINISHED"
    expected = {
        "recipe": "osie",
        "matrix": "m1",
        "cell_key": "k1",
        "backbone": "resnet50",
        "weights": "caffe",
        "layers": "layer2+layer3",
        "probe": "ridge",
        "dataset": "osie640 (eye)",
        "synthetic": "false",
        "status": "finished",
        "git_commit": "c0ffee",
        "git_dirty": "true",
        "nonfinite.kld": "nan",
        f"nonfinite.{ALPHA_PATH}": "nan",
    }
    assert expected.items() <= logged.data.tags.items()
    assert logged.data.params["layers"] == "layer2, layer3"
    assert logged.data.params["probe.alphas"] == "0.001, 1"
    assert logged.data.params["alpha"] == "1"
    mlflow = client(mlflow_store)
    found = mlflow.search_runs([logged.info.experiment_id], "tags.layers = 'layer2+layer3' and metrics.cc > 0.7")
    assert [r.info.run_id for r in found] == [logged.info.run_id]


def test_what_should_be_doubted_can_be_searched_for(mlflow_store: Path) -> None:
    run = record(mlflow_store)
    doubted = finished(run, "k2", info={"warnings": ["alpha 1 is at the edge of its grid"], "flags": ["edge"]})
    track(run, finished(run, n_unscored=0), doubted)
    mlflow, (one, *_) = client(mlflow_store), runs(mlflow_store)

    def found(wanted: str) -> list[str]:
        return [r.data.tags["cell_key"] for r in mlflow.search_runs([one.info.experiment_id], wanted)]

    assert found("tags.`flag.edge` = 'true'") == ["k2"]
    assert found("tags.`flag.unscored` = 'true'") == ["k2"]
    assert found("tags.warnings LIKE '%edge of its grid%lack a score%'") == ["k2"]
    assert found("tags.`flag.unconverged` = 'true'") == []


def test_metrics_are_finite_and_curves_are_short(mlflow_store: Path) -> None:
    run = record(mlflow_store)
    track(run, finished(run))
    (logged,) = runs(mlflow_store)
    metrics = logged.data.metrics
    assert metrics["cc"] == 0.71
    assert metrics["n_unscored"] == 1
    assert metrics["time/fit_s"] == 1.5
    assert "kld" not in metrics

    def curve(name: str) -> list[tuple[int, float]]:
        history = client(mlflow_store).get_metric_history(logged.info.run_id, name)
        return sorted((m.step, m.value) for m in history)

    assert curve("train/epoch_loss") == [(0, 3.0), (1, 2.0)]
    assert curve(ALPHA_PATH) == [(-20, 0.5), (0, 0.25)]
    steps = [step for step, _ in curve("train/step_loss")]
    assert len(steps) == MAX_POINTS
    assert (steps[0], steps[-1]) == (0, 4999)


def test_the_files_of_a_cell_come_along(mlflow_store: Path) -> None:
    run = record(mlflow_store)
    track(run, finished(run))
    (logged,) = runs(mlflow_store)
    folder = mlflow_store / "mlartifacts" / logged.info.run_id / "artifacts"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"recipe.yaml", "cell.json", "environment.json", "contact_sheet.jpg"}
    assert json.loads((folder / "cell.json").read_text())["resolved"] == {"probe": "ridge", "seed": 3}


def test_running_again_adds_no_run(mlflow_store: Path) -> None:
    first, second = record(mlflow_store), record(mlflow_store, matrix="m2")
    track(first, finished(first))
    track(second, finished(second, metrics={"cc": 0.72, "auc": 0.9}, seconds={"fit": 9.0}))
    (logged,) = runs(mlflow_store)
    assert (logged.data.metrics["cc"], logged.data.metrics["auc"]) == (0.72, 0.9)
    assert (logged.data.tags["matrix"], logged.data.tags["matrices"]) == ("m2", "m1 m2")
    history = client(mlflow_store).get_metric_history(logged.info.run_id, "train/epoch_loss")
    assert len(history) == 2


def test_a_failed_cell_is_a_failed_run_until_it_succeeds(mlflow_store: Path) -> None:
    run = record(mlflow_store)
    for _ in range(2):
        track(run, failed(run))
    (logged,) = runs(mlflow_store)
    assert logged.info.status == "FAILED"
    assert logged.data.tags["error"] == "out of memory"
    track(run, finished(run))
    (logged,) = runs(mlflow_store)
    assert logged.info.status == "FINISHED"


def test_a_later_failure_does_not_take_a_finished_run_away(mlflow_store: Path) -> None:
    run = record(mlflow_store)
    track(run, finished(run))
    track(run, failed(run))
    assert sorted(r.info.status for r in runs(mlflow_store)) == ["FAILED", "FINISHED"]
    track(run, finished(run))
    assert [r.info.status for r in runs(mlflow_store)] == ["FINISHED"]


def test_a_skipped_cell_is_no_run_and_a_gaze_cell_has_a_plain_name(mlflow_store: Path) -> None:
    run = record(mlflow_store, synthetic=True)
    whole = finished(run)
    gaze = replace(whole.cell, backbone=NO_BACKBONE, weights=NO_BACKBONE, layers=(), probe_label="centre")
    track(run, replace(whole, status="skipped"), replace(whole, key="k2", cell=gaze, weights=NO_BACKBONE))
    (logged,) = runs(mlflow_store)
    assert logged.info.run_name == "centre"
    assert logged.data.tags["synthetic"] == "true"
    assert "Synthetic" in logged.data.tags["mlflow.note.content"]


def test_an_interrupt_while_writing_leaves_a_killed_run(mlflow_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "log_batch", interrupt)
    run, observer = record(mlflow_store), MlflowObserver()
    observer.started(run)
    with pytest.raises(KeyboardInterrupt):
        observer.cell_ended(finished(run))
    observer.ended("interrupted")
    assert [r.info.status for r in runs(mlflow_store)] == ["KILLED"]
    monkeypatch.undo()
    track(run, finished(run))
    assert [r.info.status for r in runs(mlflow_store)] == ["FINISHED"]


def test_an_error_while_writing_is_told_once_and_stops_the_tracking(
    mlflow_store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MlflowClient, "log_artifacts", full)
    run = record(mlflow_store)
    with caplog.at_level(logging.WARNING, logger="salprobe.tracking"):
        observer = track(run, finished(run), finished(run, "k2"))
    assert observer.error is not None
    assert "No space left" in observer.error
    assert len(caplog.records) == 1
    assert [r.info.status for r in runs(mlflow_store)] == ["FAILED"]


def test_a_server_that_is_not_there_costs_the_tracking_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = record(tmp_path, uri=f"http://127.0.0.1:{free_port()}")
    start = time.perf_counter()
    observer = track(run, finished(run))
    assert time.perf_counter() - start < 30
    assert observer.error is not None
    assert "the run goes on" in caplog.text


def test_mlflow_says_nothing_on_the_terminal(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from tests.harness.tracked import finished, record, track
run = record(Path({str(tmp_path)!r}))
assert track(run, finished(run)).error is None
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "mlflow.db").is_file()


def test_the_environment_may_name_another_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path.as_posix()}/mlflow.db"
    with pytest.raises(TrackingError, match="run a recipe"):
        ui_command(tmp_path, 5000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert store_uri(tmp_path) == "http://tracking:5000"
    with pytest.raises(TrackingError, match="open http://tracking:5000"):
        ui_command(tmp_path, 5000)


@pytest.mark.parametrize("length", [0, 1, MAX_POINTS, MAX_POINTS + 1, 12345])
def test_thinning_keeps_both_ends(length: int) -> None:
    curve = [("x", float(i), i) for i in range(length)]
    short = thin(curve)
    assert len(short) == min(length, MAX_POINTS)
    assert short == sorted(set(short), key=lambda point: point[2])
    assert short[:1] + short[-1:] == curve[:1] + curve[-1:]
