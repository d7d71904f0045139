"""Every built-in keeps the contract that strangers' plugins are held to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness._probe import PROBES
from harness.metric_registry import METRICS
from harness.plan import build
from harness.recipe import Entry
from harness.testing import check_backbone, check_dataset, check_metric, check_probe
from harness.testing._probes import ProbeCase, require_same
from harness.testing._processes import job_for, train_in_processes
from tests.harness.data.roots import annotation, image, write_root

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "ridge": [{}, {"position": True, "target": "standardised"}],
    "sgd": [{"epochs": 2}, {"epochs": 2, "loss": "kl"}, {"epochs": 2, "loss": "nll"}],
    "elastic-net": [{}, {"l1_ratio": 1.0}],
    "pooled": [{}, {"solver": "sgd", "epochs": 2}],
    "oracle": [{}, {"kind": "inverted"}, {"kind": "fixations"}],
    "sklearn": [{"estimator": "sklearn.linear_model.Ridge", "standardise": True}],
}
"""By default each probe is checked as it comes."""
PROBE_CASES = [(name, parameters) for name in PROBES.names() for parameters in VARIANTS.get(name, [{}])]


@pytest.mark.parametrize(("name", "parameters"), PROBE_CASES, ids=lambda value: str(value))
def test_probes(name: str, parameters: dict[str, Any]) -> None:
    checks = check_probe(name, processes=False, **parameters)
    assert sum(check.status == "passed" for check in checks) >= 10


@pytest.mark.slow
def test_probes_in_two_processes() -> None:
    probes = [build(PROBES, Entry(name=name, **parameters), name) for name, parameters in PROBE_CASES]
    for probe, found in zip(probes, train_in_processes([job_for(probe) for probe in probes]), strict=True):
        require_same(ProbeCase(probe), found)


@pytest.mark.parametrize("name", METRICS.names())
def test_metrics(name: str) -> None:
    check_metric(name)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet50", {"weights": "random"}),
        ("timm", {"model": "resnet18", "weights": "random"}),
        ("timm", {"model": "vit_tiny_patch16_224", "weights": "random"}),
        ("resnet18", {"weights": "random"}),
        ("dino_vits16", {"weights": "random"}),
        ("scales", {"of": "resnet18", "weights": "random"}),
        ("pixels", {}),
    ],
)
def test_backbones(name: str, parameters: dict[str, Any]) -> None:
    check_backbone(name, **parameters)


def test_datasets(tmp_path: Path) -> None:
    check_dataset("demo", train=6, test=3, height=96, width=128)
    for split, ids in (("train", (1, 2)), ("test", (3, 4))):
        annotations = [annotation(id_, id_, [[1, 2], [3, 4]]) for id_ in ids]
        write_root(tmp_path, {"images": [image(id_) for id_ in ids], "annotations": annotations}, split=split)
    check_dataset("salicon", root=str(tmp_path), edition="custom", points="eye")
