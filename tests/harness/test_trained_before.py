"""The same folder, scored otherwise: readouts are not trained again, and everything is as if they had been."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.images import read_image
from harness.export import export_cell
from harness.extraction import Extractor
from harness.identity import training_key
from harness.overwrite import Overwrite
from harness.plan import make_plan
from harness.predictor import Predictor
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import cell_folder, read_cells
from harness.run import run
from tests.harness.interrupted import RECIPE, Told, assert_same_results, plugin

__all__ = ["plugin"]

TRAIN, TEST = 10, 5
FEW: list[Any] = [
    "ridge",
    {"name": "smoothed"},
    {"name": "plainly", "positions": 40},
    {"name": "sgd", "epochs": 2},
    "centre",
    "observers",
]
SCALES = {"input": {"test_scales": [1, 1.5]}}


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many of every batch go through a network."""
    seen: list[int] = []
    through = Extractor.features

    def counted(self: Extractor, pixels: torch.Tensor, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        seen.append(len(pixels))
        return through(self, pixels, size)

    monkeypatch.setattr(Extractor, "features", counted)
    return seen


def asked(plugin: str, **changes: Any) -> dict[str, Any]:
    own = {"plugins": [plugin], "backbones": ["own_net"], "layers": ["1"], "probes": FEW, "metrics": ["cc", "nss"]}
    return {**RECIPE, **own, **changes}


def go(out: Path, plugin: str, overwrite: Overwrite = Overwrite.MISSING, **changes: Any) -> tuple[Path, str]:
    told = Told()
    folder = run(make_plan(parse_recipe(asked(plugin, **changes))), out, told, overwrite=overwrite).folder
    return folder, "\n".join(told.words)


@pytest.mark.parametrize("changes", [{"metrics": ["nss", "cc", "sim"]}, SCALES], ids=["metric", "scales"])
def test_only_the_held_out_images_are_seen_anew(
    tmp_path: Path, plugin: str, images: list[int], changes: dict[str, Any]
) -> None:
    go(tmp_path / "twice", plugin)
    images.clear()
    twice, said = go(tmp_path / "twice", plugin, **changes)
    assert sum(images) == TEST
    assert "4 of 4 cells: trained by an earlier run, only to be scored anew" in said
    at_once, said = go(tmp_path / "at-once", plugin, **changes)
    assert "scored anew" not in said
    assert_same_results(twice, at_once)
    ours, theirs = read_cells(twice), read_cells(at_once)
    assert list(ours.time_train_forward_s.isna()) == list(theirs.time_train_forward_s.isna())
    assert (ours.time_fit_s > 0).sum() == (theirs.time_fit_s > 0).sum()


def test_a_metric_of_densities_is_calibrated(tmp_path: Path, plugin: str, images: list[int]) -> None:
    go(tmp_path / "twice", plugin)
    images.clear()
    twice, _ = go(tmp_path / "twice", plugin, metrics=["cc", "ig"])
    assert sum(images) == TRAIN + TEST  # the calibration's pass, none of training
    at_once, _ = go(tmp_path / "at-once", plugin, metrics=["cc", "ig"])
    assert_same_results(twice, at_once)
    images.clear()
    go(tmp_path / "twice", plugin, metrics=["cc", "ig", "nss"])
    assert sum(images) == TEST  # what is calibrated stays so


def test_a_new_probe_beside_them_is_trained_alone(tmp_path: Path, plugin: str, images: list[int]) -> None:
    more = [{"name": "ridge", "position": True}, *FEW]
    go(tmp_path / "twice", plugin)
    images.clear()
    twice, said = go(tmp_path / "twice", plugin, probes=more, **SCALES)
    assert "4 of 5 cells: trained by an earlier run" in said
    assert sum(images) == TRAIN + TEST
    at_once, _ = go(tmp_path / "at-once", plugin, probes=more, **SCALES)
    assert_same_results(twice, at_once)


def test_what_is_to_be_overwritten_is_trained_again(tmp_path: Path, plugin: str, images: list[int]) -> None:
    go(tmp_path, plugin)
    images.clear()
    _, said = go(tmp_path, plugin, Overwrite.ALL, **SCALES)
    assert "scored anew" not in said
    assert sum(images) >= TRAIN + TEST


@pytest.mark.parametrize("file", ["readout.safetensors", "cell.json"])
def test_a_damaged_one_is_trained_again(tmp_path: Path, plugin: str, file: str) -> None:
    folder, _ = go(tmp_path / "twice", plugin, probes=["ridge"])
    (damaged,) = folder.glob(f"cells/*/{file}")
    damaged.write_bytes(b"{}")
    twice, said = go(tmp_path / "twice", plugin, probes=["ridge"], **SCALES)
    assert "scored anew" not in said
    at_once, _ = go(tmp_path / "at-once", plugin, probes=["ridge"], **SCALES)
    assert_same_results(twice, at_once)


def test_new_images_are_seen_at_the_same_scales(tmp_path: Path, plugin: str) -> None:
    folder, _ = go(tmp_path, plugin, probes=["ridge"], batch_size=1, **SCALES)
    (row,) = read_cells(folder).to_dict("records")
    export_cell(folder, row["cell_key"], "npy", tmp_path / "maps", Silent(), plugins=[Path(plugin)])
    predictor = Predictor.load(cell_folder(folder, row["cell_key"]), torch.device("cpu"))
    test = make_plan(parse_recipe(asked(plugin))).reader.read("test")
    for file in test.files:
        found = predictor.map(read_image(file, 0).permute(1, 2, 0).numpy())
        assert np.array_equal(found, np.load(tmp_path / "maps" / f"{file.stem}.npy"))


def test_what_a_readout_depends_on(tmp_path: Path, plugin: str) -> None:
    changed: dict[str, dict[str, Any]] = {
        "nothing": {},
        "metrics": {"metrics": ["auc"]},
        "scales": SCALES,
        "alphas": {"probes": [{"name": "ridge", "alphas": [3]}]},
        "grid": {"grid": 8},
        "scale": {"input": {"scale": 0.5}},
        "images": {"limit": {"train": 8}},
        "held-out images": {"limit": {"test": 3}},
    }
    keys, cells = {}, {}
    for name, changes in changed.items():
        folder, _ = go(tmp_path / name, plugin, **{"probes": ["ridge"], **changes})
        (file,) = folder.glob("cells/*/cell.json")
        cells[name], keys[name] = file.parent.name, training_key(json.loads(file.read_text())["resolved"])
    assert len(set(cells.values())) == len(changed)
    assert keys["nothing"] == keys["metrics"] == keys["scales"] == keys["held-out images"]
    assert len(set(keys.values())) == 5
