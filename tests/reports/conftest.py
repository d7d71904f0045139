"""A results folder as a run leaves it, written by the same code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness._probe import Context, Probe, Trainer
from harness.plan import NO_BACKBONE, Cell
from harness.recipe import parse_recipe
from harness.results import CellResult, ResultsFolder, Status


@dataclass(frozen=True)
class Dummy(Probe):
    """A probe that is never trained here."""

    strength: float = 1.0

    def trainer(self, context: Context) -> Trainer:
        raise NotImplementedError


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
        result.per_image = [{"image_id": 1001, **result.metrics}]
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


@pytest.fixture
def osie(tmp_path: Path) -> Path:
    return results_folder(tmp_path / "osie")


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return results_folder(tmp_path / "quickstart", dataset="demo (synthetic)")
