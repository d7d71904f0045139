"""OSIE from fixations.mat against OSIE from JSON: the same recordings, so the same columns and the same scores."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.dataset import Dataset
from harness.data.osie import Osie
from harness.data.salicon import Salicon
from harness.evaluation import evaluate
from harness.metric_registry import METRICS as METRIC_REGISTRY
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import load_recipe
from harness.results import read_cells
from harness.run import run
from harness.stream import Stream, StreamSettings
from probes.observers import ObserversReadout
from tests.harness.data.eye_trackers import cells, save_fixations

ROOT = Path(os.environ.get("SALPROBE_TEST_DATA", "/nonexistent")) / "osie640"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="SALPROBE_TEST_DATA is not set: no osie640 here")
FILES = {"train": "fixations_eye_train.json", "test": "fixations_eye_val.json"}
METRICS = ("cc", "auc", "nss", "sim", "kld", "ig", "sauc", "auc_judd")
COLUMNS = ("ids", "height", "width", "offset", "row", "col", "observer", "image_sha256")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of the release, with the images and recordings of the JSON."""
    root = tmp_path_factory.mktemp("osie")
    paths: dict[str, list[list[tuple[float, float]]]] = {}
    for name in FILES.values():
        document = json.loads((ROOT / "annotations" / name).read_text())
        called = {image["id"]: image["file_name"] for image in document["images"]}
        for annotation in document["annotations"]:
            subjects = paths.setdefault(called[annotation["image_id"]], [[] for _ in range(15)])
            subjects[annotation["worker_id"] - 1] += [(col, row) for row, col in annotation["fixations"]]
    save_fixations(root / "data" / "eye" / "fixations.mat", dict(sorted(paths.items())), cells)
    (root / "data" / "stimuli").symlink_to(ROOT / "images")
    return root


def from_json(split: Any) -> Dataset:
    return Salicon(root=str(ROOT), edition="custom", points="eye", **FILES).read(split)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_columns_and_split_are_those_of_the_json(original: Path, split: Any) -> None:
    mat, expected = Osie(root=str(original)).read(split), from_json(split)
    for name in COLUMNS:
        assert np.array_equal(getattr(mat, name), getattr(expected, name)), name
    assert mat.observer_labels == expected.observer_labels
    assert (mat.dropped, mat.skipped, expected.skipped) == (0, (), ())


@pytest.mark.slow
def test_scores_are_those_of_the_json(original: Path, tmp_path: Path) -> None:
    """Of everything that draws nothing from the cell's key, which names the dataset."""
    how = ["backbones.0.weights=random", "layers=[layer2]", "probes=[ridge, centre]", "input.size=[60, 80]", "limit=12"]
    how += ["pictures=0", "tracking.enabled=false"]
    mat = f"dataset={{reader: osie, root: '{original}'}}"
    found = [
        read_cells(run(make_plan(load_recipe("osie", [source, *how])), tmp_path / out, Silent()).folder)
        for out, source in (("mat", mat), ("json", f"dataset.root={ROOT}"))
    ]
    assert set(found[0].status) == {"finished"}
    assert len(found[0]) == 2 + 5  # the network and the centre bias, and the pixels' own layers
    for metric in METRICS:
        assert found[0][metric].tolist() == found[1][metric].tolist(), metric


@pytest.mark.slow
def test_the_same_halves_of_people_agree_as_they_do_in_the_json(original: Path) -> None:
    scores = []
    for dataset in (Osie(root=str(original)).read("test"), from_json("test")):
        stream = Stream(dataset.take(range(8)), StreamSettings(workers=0), torch.device("cpu"))
        metrics = [METRIC_REGISTRY.get(name) for name in METRICS if name != "ig"]
        scores.append(evaluate({"people": ObserversReadout(3)}, stream, metrics, Silent())["people"].means(metrics))
    assert scores[0] == scores[1]
    assert scores[0]["cc"] > 0.7
