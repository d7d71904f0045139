"""A results folder as a run leaves it, written by the same code."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness._probe import Context, Probe, Trainer
from harness.cells import NO_BACKBONE, Cell
from harness.flags import EDGE, flag
from harness.metric_registry import METRICS as REGISTRY
from harness.per_image import PerImage
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import CellResult, ResultsFolder, Status
from harness.run import run
from harness.uncertainty import Uncertainty


@dataclass(frozen=True)
class Dummy(Probe):
    """A probe that is never trained here."""

    strength: float = 1.0

    def trainer(self, context: Context) -> Trainer:
        raise NotImplementedError


@dataclass(frozen=True)
class Floor(Dummy):
    """Stands for the centre bias."""

    bound = "floor"


@dataclass(frozen=True)
class Ceiling(Dummy):
    """Stands for the other observers."""

    bound = "ceiling"


METRICS = ("cc", "auc", "nss", "sim", "kld")


def cell_result(
    layers: str,
    probe: str,
    scores: tuple[float, ...] = (),
    *,
    backbone: str = "resnet50",
    dataset: str = "osie640 (eye)",
    status: Status = "finished",
    error: str | None = None,
) -> CellResult:
    """A result with these scores, in the order of METRICS."""
    weights = NO_BACKBONE if backbone == NO_BACKBONE else "caffe"
    cell = Cell(dataset, backbone, "imagenet", layers, (), probe, Dummy(), 0)
    key = f"{layers}-{probe}"
    result = CellResult(cell, key, {"probe": probe}, status, error, weights)
    if scores:
        result.metrics = dict(zip(METRICS, scores, strict=False))
        result.n_images = 200
        result.seconds = {"fit": 0.42, "score": 3.1, "train_forward": 130.0, "test_forward": 52.0}
        result.per_image = PerImage.of_rows([{"image_id": 1001, **result.metrics}])
    return result


def results_folder(folder: Path, dataset: str = "osie640 (eye)") -> Path:
    """A finished matrix with floors, a ceiling, a failure first, a skipped cell, a warning and unscored images."""
    results = ResultsFolder(folder)
    results.write_recipe(parse_recipe({"name": "osie", "dataset": "salicon", "probes": ["ridge"]}))
    warned = cell_result("layer4", "ridge", (0.606, 0.872, 1.85, 0.51, 0.83), dataset=dataset)
    flag(warned.info, EDGE, "alpha 100 is at the edge of its grid")
    unscored = cell_result("layer2+layer3", "sgd-kl", (0.700, 0.890, 2.40, 0.55, 0.75), dataset=dataset)
    unscored.n_unscored, unscored.unscored = 3, {"nss: no fixation": 3}
    for result in (
        cell_result(
            "layer1", "sgd-mse", dataset=dataset, status="failed", error="FloatingPointError: training diverged [lr]"
        ),
        cell_result(NO_BACKBONE, "observers", (0.885, 0.929, 3.62, 0.7, 0.4), backbone=NO_BACKBONE, dataset=dataset),
        cell_result(NO_BACKBONE, "centre", (0.315, 0.745, 0.89, 0.3, 1.4), backbone=NO_BACKBONE, dataset=dataset),
        warned,
        cell_result("layer3", "ridge", (0.710, 0.896, 2.42, 0.56, 0.7), dataset=dataset),
        unscored,
        cell_result(NO_BACKBONE, "uniform", (float("nan"), 0.5, 0.0), backbone=NO_BACKBONE, dataset=dataset),
        cell_result("layer9", "pooled", dataset=dataset, status="skipped", error="resnet50 has no layer layer9"),
    ):
        results.open_cell(result, None)
        results.close_cell(result)
        results.add(result)
    results.flush()
    return folder


def tested_folder(folder: Path) -> Path:
    """A finished matrix of 60 images with intervals, shares and paired tests; `layer3` is little better than `all`."""
    results, rng = ResultsFolder(folder), np.random.default_rng(4)
    results.write_recipe(parse_recipe({"name": "osie", "dataset": "salicon", "probes": ["ridge"]}))
    difficulty = rng.normal(0, 0.1, (60, 1))
    ended = []
    for layers, probe, mean, kind in (
        (NO_BACKBONE, "centre", 0.4, Floor()),
        (NO_BACKBONE, "observers", 0.9, Ceiling()),
        ("layer3", "ridge", 0.710, Dummy()),
        ("all", "ridge", 0.702, Dummy()),
        ("layer1", "ridge", 0.5, Dummy()),
    ):
        scores = mean + difficulty + rng.normal(0, 0.04, (60, len(METRICS)))
        backbone = NO_BACKBONE if layers == NO_BACKBONE else "resnet50"
        result = cell_result(layers, probe, tuple(scores.mean(axis=0)), backbone=backbone)
        result.cell = dataclasses.replace(result.cell, probe=kind)
        result.per_image = PerImage.of_rows(
            {"image_id": i, **dict(zip(METRICS, row, strict=True))} for i, row in enumerate(scores)
        )
        ended.append(result)
    uncertainty = Uncertainty([REGISTRY.get(name) for name in METRICS], "digest")
    uncertainty.add(ended)
    for result in ended:
        results.open_cell(result, None)
        results.close_cell(result)
        results.add(result)
    results.flush()
    results.write_pairs(uncertainty.pairs("cc"))
    return folder


def matrix_folder(folder: Path, *, first: str = "stem") -> Path:
    """Trained, untrained, pixels; two probes; two depths and both together; with what readouts tell of themselves."""
    results, rng = ResultsFolder(folder), np.random.default_rng(5)
    results.write_recipe(parse_recipe({"name": "osie", "dataset": "salicon", "probes": ["ridge"]}))
    ended = [_matrix_cell(rng, "centre", 0.3, Floor()), _matrix_cell(rng, "observers", 0.9, Ceiling())]
    for weights, gain in (("caffe", 0.3), ("random", 0.1)):
        for probe, more in (("ridge", 0.0), ("sgd-kl", 0.03)):
            for n, (layers, depth) in enumerate(((first, 0), ("layer3", 13), ("all", None))):
                how = {"layers": layers, "backbone": "resnet50", "weights": weights, "depth": depth}
                ended.append(_matrix_cell(rng, probe, 0.35 + gain * n / 2 + more, Dummy(), **how))
    ended.append(_matrix_cell(rng, "ridge", 0.4, Dummy(), layers="pixels", backbone="pixels", weights="none", depth=0))
    uncertainty = Uncertainty([REGISTRY.get(metric) for metric in METRICS], "digest")
    uncertainty.add(ended)
    for result in ended:
        own = results.open_cell(result, None)
        (own / "readout.json").write_text(json.dumps({"info": result.info}))
        results.close_cell(result)
        results.add(result)
    results.flush()
    results.write_pairs(uncertainty.pairs("cc"))
    return folder


def _matrix_cell(
    rng: np.random.Generator,
    probe: str,
    mean: float,
    kind: Probe,
    *,
    layers: str = NO_BACKBONE,
    backbone: str = NO_BACKBONE,
    weights: str = NO_BACKBONE,
    depth: int | None = None,
) -> CellResult:
    scores = mean + rng.normal(0, 0.04, (40, len(METRICS)))
    cell = Cell("osie640 (eye)", backbone, weights, layers, (), probe, kind, 0, depth=depth)
    key = "-".join((weights, "".join(filter(str.isalnum, layers)), probe))
    result = CellResult(cell, key, {"probe": probe}, "finished", None, weights)
    result.metrics = dict(zip(METRICS, map(float, scores.mean(axis=0)), strict=True))
    result.n_images, result.seconds = 40, {"fit": 0.4, "score": 3.0}
    result.per_image = PerImage.of_rows(
        {"image_id": i, **dict(zip(METRICS, map(float, row), strict=True))} for i, row in enumerate(scores)
    )
    if backbone != NO_BACKBONE:
        result.seconds |= {"train_forward": 13.0, "test_forward": 5.5}
        result.info = _info(probe, layers)
    return result


def _info(probe: str, layers: str) -> dict[str, Any]:
    if probe == "ridge":
        info: dict[str, Any] = {"alpha": 10.0, "alphas": [0.1, 1.0, 10.0], "cv_error": [3.0, 2.0, 1.5]}
    else:
        info = {"loss": "kl", "epoch_loss": [1.5, 1.2], "step_loss": [2.0, 1.4, 1.3, 1.1]}
    return info | ({"layer_shares": {"layer1": -0.25, "layer3": 1.25}} if layers == "all" else {})


SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": {"reader": "demo", "train": 8, "test": 4, "height": 96, "width": 128},
    "backbones": [{"name": "resnet50", "weights": "random"}],
    "layers": ["layer1", "layer2", ["layer1", "layer2"]],
    "probes": ["ridge", {"name": "sgd", "loss": "kl", "epochs": 2}, "centre", "observers"],
    "grid": 16,
    "folds": 2,
    "precision": "fp32",
    "workers": 0,
    "pictures": 2,
}


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run, with pictures; not to be changed."""
    return run(make_plan(parse_recipe(SMALL)), tmp_path_factory.mktemp("results"), Silent()).folder


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    return matrix_folder(tmp_path / "matrix")


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    return tested_folder(tmp_path / "tested")


@pytest.fixture
def osie(tmp_path: Path) -> Path:
    return results_folder(tmp_path / "osie")


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return results_folder(tmp_path / "quickstart", dataset="demo (synthetic)")
