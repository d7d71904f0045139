"""Runs and cells for tests of the tracking, and what MLflow then holds."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from harness._probe import Context, Probe, Trainer
from harness.cells import Cell
from harness.recipe import parse_recipe
from harness.results import CONTACT_SHEET, CellResult, ResultsFolder, RunRecord, cell_folder
from harness.tracking import MlflowObserver, store_uri
from harness.types import LayerSpec

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class Dummy(Probe):
    loss: str = "mse"
    alphas: tuple[float, ...] = (1e-3, 1.0)

    def trainer(self, context: Context) -> Trainer:
        raise NotImplementedError


def record(
    out: Path, *, synthetic: bool = False, uri: str | None = None, matrix: str = "m1", **changes: Any
) -> RunRecord:
    recipe = parse_recipe(
        {"name": "osie", "dataset": "salicon", "probes": ["ridge"], "tracking": {"uri": uri}, "limit": 4, **changes}
    )
    folder = out / recipe.name
    ResultsFolder(folder).write_recipe(recipe)
    environment = {"git_commit": "c0ffee", "git_dirty": True, "packages": {"torch": "2.5"}}
    return RunRecord(recipe, folder, matrix, {"name": "osie640", "synthetic": synthetic}, environment)


def finished(run: RunRecord, key: str = "k1", **changes: Any) -> CellResult:
    """A cell with all that a cell can have, its files on disk."""
    layers = (LayerSpec("layer2", 512, 8), LayerSpec("layer3", 1024, 16))
    cell = Cell("osie640 (eye)", "resnet50", "imagenet", "layer2+layer3", layers, "ridge", Dummy(), 3)
    folder = cell_folder(run.folder, key)
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(folder / CONTACT_SHEET)
    result = CellResult(
        cell,
        key,
        {"probe": "ridge", "seed": 3},
        "finished",
        weights="caffe",
        metrics={"cc": 0.71, "kld": math.nan},
        n_images=200,
        n_unscored=1,
        seconds={"fit": 1.5},
        info={
            "alpha": 1.0,
            "alphas": [0.01, 0.1, 1.0],
            "cv_error": [0.5, None, 0.25],
            "epoch_loss": [3.0, 2.0],
            "step_loss": [9.0] * 5000,
        },
        folder=folder,
    )
    return replace(result, **changes)


def failed(run: RunRecord, key: str = "k1") -> CellResult:
    return finished(run, key, status="failed", error="out of memory", metrics={}, info={}, folder=None)


def client(out: Path) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(store_uri(out))


def runs(out: Path) -> list[Run]:
    mlflow = client(out)
    return list(mlflow.search_runs([e.experiment_id for e in mlflow.search_experiments()]))


def track(run: RunRecord, *results: CellResult) -> MlflowObserver:
    observer = MlflowObserver()
    observer.started(run)
    for result in results:
        observer.cell_ended(result)
    observer.ended("finished")
    return observer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
