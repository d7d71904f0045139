"""What MLflow costs a cell: everything that is logged of it, into a local store whose schema is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from harness.progress import Silent
from harness.tracking.later import track_folders
from harness.tracking.store import keep_quiet
from tests.benchmarks.workload import RIDGE, sgd
from tests.harness.small_run import small_run

CHANGES: dict[str, Any] = {"layers": ["stem", "layer1", "layer2", "layer3", "layer4", "all"], "pictures": 6}
"""All stages by ridge and gradient descent on small generated images: the cells' files are those of a real run."""


def test_logging_a_cell(benchmark: BenchmarkFixture, publish: Callable[..., None], tmp_path: Path) -> None:
    start = time.perf_counter()
    told = small_run(tmp_path, **CHANGES, probes=[*RIDGE, sgd("mse", "kl")])
    whole = time.perf_counter() - start
    keep_quiet()
    from mlflow import MlflowClient

    seconds: list[float] = []

    def log(store: Path) -> None:
        before = time.perf_counter()
        track_folders([told.record.folder], f"sqlite:///{store.as_posix()}", Silent())
        seconds.append(time.perf_counter() - before)

    def fresh() -> tuple[tuple[Path], dict[str, Any]]:
        store = tmp_path / f"{len(seconds)}" / "mlflow.db"
        store.parent.mkdir()
        MlflowClient(f"sqlite:///{store.as_posix()}").search_experiments()
        return (store,), {}

    benchmark.pedantic(log, setup=fresh, rounds=3, warmup_rounds=1)
    cell = sorted(seconds[-3:])[1] / len(told.results)
    publish(
        "mlflow_logging_s_per_cell",
        cell,
        "s",
        "<= 0.3",
        note="Metrics, curves, table, pictures, dataset and model of a cell, and the layer curves, into a local SQLite "
        "store; median of 3.",
        details={"cells": len(told.results), "run_s": whole, "rounds": 3},
    )
