"""A results folder as a run leaves it, written by the same code."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness._probe import Context, Probe, Trainer
from harness.cells import NO_BACKBONE, Cell
from harness.metric_registry import METRICS as REGISTRY
from harness.per_image import PerImage
from harness.recipe import parse_recipe
from harness.results import CellResult, ResultsFolder, Status
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
    warned.info = {"warnings": ["alpha 100 is at the edge of its grid"]}
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
        results.add(result)
    results.flush()
    results.write_pairs(uncertainty.pairs("cc"))
    return folder


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    return tested_folder(tmp_path / "tested")


@pytest.fixture
def osie(tmp_path: Path) -> Path:
    return results_folder(tmp_path / "osie")


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return results_folder(tmp_path / "quickstart", dataset="demo (synthetic)")
