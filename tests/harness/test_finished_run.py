"""A results folder read back against what the run's observers were told."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ResultsError
from harness.finished_run import FinishedRun, read_run
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.run import run
from tests.harness.small_run import Told
from tests.harness.test_run import TINY

SMALL: dict[str, Any] = {
    **TINY,
    "layers": ["layer1", ["layer1", "layer2"], "layer1.0"],
    "probes": [
        "ridge",
        {"name": "sgd", "epochs": 1, "layers": ["layer1"], "learning_rate": 1e30},
        {"name": "pooled", "raster": [4, 6], "layers": [["layer1", "layer2"]]},
        "centre",
        "observers",
    ],
    "backbones": [
        {"name": "resnet50", "weights": "random"},
        {"name": "timm", "model": "resnet18", "weights": "random", "layers": [["layer1", "layer2"]]},
    ],
}


@pytest.fixture(scope="module")
def told_and_read(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, FinishedRun]:
    memory = Told()
    outcome = run(make_plan(parse_recipe(SMALL)), tmp_path_factory.mktemp("run"), Silent(), [memory])
    return memory, read_run(outcome.folder)


def test_a_run_is_what_its_observers_were_told(told_and_read: tuple[Told, FinishedRun]) -> None:
    memory, found = told_and_read
    assert json.dumps(dataclasses.asdict(found.record), default=str) == json.dumps(
        dataclasses.asdict(memory.record), default=str
    ).replace("NaN", "null")
    assert {result.status for result in found.results} >= {"finished", "failed"}
    assert [result.key for result in found.results] == [result.key for result in memory.results]


def test_every_cell_is_as_it_was_told(told_and_read: tuple[Told, FinishedRun]) -> None:
    memory, found = told_and_read
    for told, read in zip(memory.results, found.results, strict=True):
        assert (read.label, read.status, read.error, read.weights) == (
            told.label,
            told.status,
            told.error,
            told.weights,
        )
        assert read.identity == json.loads(json.dumps(told.identity, default=list))
        assert json.dumps(read.info) == json.dumps(told.info)
        assert (read.cell.layers, read.cell.depth, read.folder) == (told.cell.layers, told.cell.depth, told.folder)
        assert read.seconds == pytest.approx(told.seconds)
        assert (read.n_images, read.n_unscored, read.n_constant) == (told.n_images, told.n_unscored, told.n_constant)
        assert read.unscored == told.unscored
        for mine, other in ((read.metrics, told.metrics), (read.intervals, told.intervals), (read.shares, told.shares)):
            assert mine.keys() == other.keys()
            np.testing.assert_array_equal(list(mine.values()), list(other.values()))
        np.testing.assert_array_equal(read.per_image.ids, told.per_image.ids)
        assert str(list(read.per_image)) == str(list(told.per_image))


def test_depth_counts_blocks_where_a_backbone_says_so(told_and_read: tuple[Told, FinishedRun]) -> None:
    depths = {(r.cell.backbone, r.cell.layer_set): r.cell.depth for r in told_and_read[1].results}
    assert depths["resnet50", "layer1"] == 3
    assert depths["resnet50", "layer1.0"] == 1
    assert depths["resnet50", "layer1+layer2"] is None


def test_layer_shares_are_told_of_cells_with_several_layers(told_and_read: tuple[Told, FinishedRun]) -> None:
    shares = {
        r.cell.layer_set: r.info.get("layer_shares") for r in told_and_read[1].results if r.cell.probe_label == "ridge"
    }
    assert shares["layer1"] is None
    assert shares["layer1+layer2"].keys() == {"layer1", "layer2"}
    assert sum(shares["layer1+layer2"].values()) == pytest.approx(1)


def test_what_is_not_the_folder_of_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is it the folder of a run"):
        read_run(tmp_path)
