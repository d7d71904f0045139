"""A small matrix for runs that are stopped: every kind of state, a network so small that most time goes elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors import safe_open

from harness.progress import Silent
from harness.results import read_cells, read_pairs, read_per_image
from harness.small_maps import SmallMaps
from tests.plugins import forgotten

PLUGIN = """
import os, time
from torch import nn
from harness import backbone, probe

class Slow(nn.Module):
    def forward(self, x):
        time.sleep(float(os.environ.get("SALPROBE_TEST_NAP", "0")))
        if log := os.environ.get("SALPROBE_TEST_FORWARD"):
            with open(log, "a") as file:
                file.write(f"{len(x)}\\n")
        return x

@backbone("own_net", layers={"1": (8, 2), "3": (4, 4)})
def own_net(*, weights: str = "random", seed: int = 0) -> nn.Module:
    '''Two convolutions. seed: of the second network.'''
    return nn.Sequential(Slow(), nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 3, 2, 1))

@probe("plainly")
def plainly(features, density, *, shrink: float = 1.0):
    '''The covariance. shrink: what the weights are multiplied with.'''
    return shrink * ((features - features.mean(0)) * (density - density.mean())[:, None]).mean(0)
"""
RECIPE: dict[str, Any] = {
    "name": "stopped",
    "plugins": ["plugin.py"],
    "dataset": {"reader": "demo", "train": 10, "test": 5, "height": 96, "width": 128},
    "backbones": [{"name": "own_net", "weights": ["random"], "seed": [0, 1]}],
    "layers": ["1", ["1", "3"]],
    "probes": [
        "ridge",
        {"name": "ridge", "centre": 0.5, "layers": ["1"]},
        {"name": "smoothed", "layers": ["1"]},
        {"name": "plainly", "layers": ["1"]},
        {"name": "sgd", "loss": ["mse", "kl"], "epochs": 3, "images_per_step": 3, "layers": [["1", "3"]]},
        {"name": "pooled", "solver": ["ridge", "sgd"], "epochs": 2, "raster": [4, 6], "layers": ["3"]},
        "centre",
        "observers",
    ],
    "grid": 16,
    "folds": 3,
    "precision": "fp32",
    "workers": 0,
    "batch_size": 2,
    "pictures": 1,
    "save_every_s": 0,
}
GRADIENT = ("sgd", "pooled-sgd")


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def say(self, message: str) -> None:
        self.words.append(message)


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[str]:
    """The file of PLUGIN, whose plugins are forgotten afterwards."""
    file = tmp_path / "plugin.py"
    file.write_text(PLUGIN)
    with forgotten():
        yield str(file)


def write_recipe(folder: Path, **changes: Any) -> str:
    """The recipe's file, its plugin beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "plugin.py").write_text(PLUGIN)
    file = folder / "stopped.yaml"
    file.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return str(file)


def assert_everything_opens(folder: Path) -> int:
    """No file is torn; how many there were."""
    openers = {
        ".json": lambda path: json.loads(path.read_text()),
        ".parquet": lambda path: pq.ParquetFile(path).read(),
        ".safetensors": lambda path: safe_open(path, "pt").__enter__().keys(),
        ".npz": SmallMaps.load,
        ".pt": lambda path: torch.load(path, weights_only=True),
        ".yaml": lambda path: yaml.safe_load(path.read_text()),
    }
    paths = [path for path in folder.rglob("*") if path.suffix in openers and not path.name.startswith(".")]
    for path in paths:
        openers[path.suffix](path)
    return len(paths)


def assert_same_results(found: Path, expected: Path) -> None:
    """Rows and scores of a run that was not stopped: to the last bit, and within 1e-6 after gradient descent."""
    ours, theirs = read_cells(found), read_cells(expected)
    assert list(ours.cell_key) == list(theirs.cell_key)
    assert set(ours.status) == {"finished"}
    columns = [c for c in theirs.columns if not c.startswith("time_")]
    assert [c for c in ours.columns if not c.startswith("time_")] == columns
    trained = theirs.probe.str.startswith(GRADIENT)
    pd.testing.assert_frame_equal(ours[columns][~trained], theirs[columns][~trained], check_exact=True)
    pd.testing.assert_frame_equal(ours[columns][trained], theirs[columns][trained], rtol=0, atol=1e-6)
    rows, others = read_per_image(found), read_per_image(expected)
    assert not rows.duplicated(["cell_key", "image_id"]).any()
    exact = others.cell_key.isin(theirs.cell_key[~trained])
    pd.testing.assert_frame_equal(rows[exact], others[exact], check_exact=True)
    pd.testing.assert_frame_equal(rows[~exact], others[~exact], rtol=0, atol=1e-6)
    pairs, tested = read_pairs(found), read_pairs(expected)
    assert list(pairs.cell_a + pairs.cell_b) == list(tested.cell_a + tested.cell_b)
    np.testing.assert_allclose(pairs.difference, tested.difference, rtol=0, atol=1e-6)
    for key in theirs.cell_key[~trained]:
        name = f"cells/{key}/readout.safetensors"
        assert (found / name).read_bytes() == (expected / name).read_bytes()
