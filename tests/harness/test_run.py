"""The whole road on a tiny generated dataset: what is on disk, what fails alone, what a number means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from harness._probe import PROBES, Context, Probe, Trainer, probe
from harness.data.images import read_image
from harness.errors import DataError, WeightsError
from harness.metrics import auc, cc
from harness.plan import make_plan
from harness.progress import Silent
from harness.readout import LinearReadout, MapReadout, Readout
from harness.readout_files import load_readout
from harness.recipe import load_recipe, parse_recipe
from harness.results import CellResult, RunRecord, read_cells, read_per_image
from harness.run import Outcome, run
from harness.types import Batch

TINY: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"reader": "demo", "train": 10, "test": 4, "height": 96, "width": 128},
    "backbones": [{"name": "resnet50", "weights": "random"}],
    "layers": ["layer1", ["layer1", "layer2"]],
    "probes": [
        "ridge",
        {"name": "sgd", "loss": ["mse", "kl"], "epochs": 2, "layers": ["layer1"]},
        {"name": "pooled", "solver": ["ridge", "sgd"], "epochs": 2, "raster": [4, 6], "layers": ["layer1"]},
        "centre",
        "uniform",
        "observers",
    ],
    "grid": 16,
    "folds": 3,
    "precision": "fp32",
    "workers": 0,
    "pictures": 2,
}


class Witness:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def started(self, run: RunRecord) -> None:
        self.told.append("started")

    def cell_ended(self, result: CellResult) -> None:
        self.told.append(result.status)

    def ended(self, status: str) -> None:
        self.told.append(f"ended {status}")


def go(out: Path, **changes: Any) -> tuple[Outcome, Witness]:
    witness = Witness()
    outcome = run(make_plan(parse_recipe({**TINY, **changes})), out, Silent(), [witness])
    return outcome, witness


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Witness]:
    return go(tmp_path_factory.mktemp("run"))


def test_every_cell_is_a_row_with_numbers(finished: tuple[Outcome, Witness]) -> None:
    outcome, witness = finished
    cells = read_cells(outcome.folder)
    assert set(cells.status) == {"finished"}
    assert outcome.counts == {"finished": 9}
    assert witness.told == ["started", *["finished"] * 9, "ended finished"]
    assert cells.cell_key.is_unique
    for column in ("dataset", "backbone", "weights", "layers", "probe", "seed", "n_images", "n_unscored"):
        assert cells[column].notna().all()
    assert set(cells.probe) == {
        "ridge", "sgd-mse", "sgd-kl", "pooled-ridge", "pooled-sgd-mse", "centre", "uniform", "observers",
    }  # fmt: skip
    assert cells[["cc", "auc", "nss", "kld", "time_score_s"]].notna().all(axis=None)
    assert (cells.dataset == "demo (synthetic)").all()
    uniform = cells[cells.probe == "uniform"].iloc[0]
    assert (uniform.cc, uniform.auc, uniform.nss) == (0, 0.5, 0)
    assert json.loads(uniform.unscored) == {"sim: constant prediction": 4}
    assert uniform.n_unscored == 4
    people = cells[cells.probe == "observers"].iloc[0]
    assert people.cc > cells[cells.probe == "centre"].cc.item()


def test_means_are_means_of_the_per_image_rows(finished: tuple[Outcome, Witness]) -> None:
    cells, rows = read_cells(finished[0].folder), read_per_image(finished[0].folder)
    assert len(rows) == 9 * 4
    assert not rows.duplicated(["cell_key", "image_id"]).any()
    for metric in ("cc", "auc", "nss", "kld"):
        means = rows.groupby("cell_key")[metric].mean()
        np.testing.assert_allclose(cells.set_index("cell_key")[metric], means[cells.cell_key], rtol=1e-12)


def test_a_saved_readout_scores_the_same_by_hand(finished: tuple[Outcome, Witness]) -> None:
    """From the image file to CC and AUC with nothing of the engine but the network and the saved weights."""
    folder = finished[0].folder
    cells = read_cells(folder)
    key = cells[(cells.probe == "ridge") & (cells.layers == "layer1")].cell_key.item()
    readout = load_readout(folder / "cells" / key)
    assert isinstance(readout, LinearReadout)
    plan = make_plan(parse_recipe(TINY))
    test = plan.reader.read("test")
    backbone = plan.groups[1].backbone
    assert backbone is not None
    loaded = backbone.load(torch.device("cpu"))
    rows = read_per_image(folder).query("cell_key == @key").set_index("image_id")
    for i, image_id in enumerate(test.ids):
        pixels = read_image(test.files[i], int(image_id))[None]
        native = loaded.forward(loaded.preprocessing(pixels, torch.float32), ["layer1"])["layer1"]
        grid = torch.nn.functional.adaptive_avg_pool2d(native.clone(), (6, 8))
        small = torch.einsum("bchw,c->bhw", grid, readout.weights["layer1"]) + readout.bias
        full = torch.nn.functional.interpolate(small[:, None], (96, 128), mode="bilinear")[:, 0]
        truth = Batch((0,), (96, 128), (6, 8), (test.points(i),), {}, (0,), sigma=19 * 96 / 480)
        assert cc(full, truth.density).item() == pytest.approx(rows.cc[image_id], abs=2e-4)
        assert auc(full, truth.fixations).item() == pytest.approx(rows.auc[image_id], abs=2e-4)


def test_files_of_a_run(finished: tuple[Outcome, Witness]) -> None:
    folder = finished[0].folder
    for key in read_cells(folder).cell_key:
        cell = folder / "cells" / key
        files = {
            "cell.json",
            "result.json",
            "per_image.parquet",
            "readout.json",
            "readout.safetensors",
            "maps.npz",
            "contact_sheet.jpg",
            "best_and_worst.jpg",
        }
        assert {file.name for file in cell.iterdir()} == files
        assert (cell / "contact_sheet.jpg").stat().st_size > 1000
    again = load_recipe(str(folder / "recipe.yaml"))
    assert again == parse_recipe(TINY)
    assert not list(folder.rglob(".*"))


def test_the_same_recipe_gives_the_same_keys_and_numbers(finished: tuple[Outcome, Witness], tmp_path: Path) -> None:
    first, second = read_cells(finished[0].folder), read_cells(go(tmp_path)[0].folder)
    metrics = ["cell_key", "cc", "auc", "nss", "kld"]
    pd.testing.assert_frame_equal(first[metrics], second[metrics])


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"grid": 32},
        {"folds": 4},
        {"limit": 3},
        {"input": {"scale": 0.5}},
        {"metrics": ["cc"]},
        {"backbones": [{"name": "resnet50", "weights": "random", "seed": 1}]},
        {"dataset": {**TINY["dataset"], "seed": 1}},
    ],
)
def test_whatever_changes_numbers_changes_the_key(
    finished: tuple[Outcome, Witness], tmp_path: Path, change: dict[str, Any]
) -> None:
    outcome, _ = go(tmp_path, **{"probes": ["ridge"], "layers": ["layer1"], "pictures": 0, **change})
    before, after = read_cells(finished[0].folder), read_cells(outcome.folder)
    assert not set(before.cell_key) & set(after.cell_key)


def test_batch_size_and_cache_change_rounding_only(finished: tuple[Outcome, Witness], tmp_path: Path) -> None:
    outcome, _ = go(tmp_path, batch_size=3, cache={"budget_gib": 0})
    first, second = read_cells(finished[0].folder), read_cells(outcome.folder)
    assert list(first.cell_key) == list(second.cell_key)
    np.testing.assert_allclose(first.cc, second.cc, atol=2e-3)


@pytest.fixture
def broken_probes() -> Iterator[None]:
    """Probes that fail at every step of their life, registered for one test."""

    class Part(Trainer):
        def __init__(self, where: str) -> None:
            self.where = where

        def update(self, batch: Batch) -> None:
            if self.where == "update":
                raise RuntimeError("boom in update")

        def end_pass(self) -> bool:
            if self.where == "end_pass":
                raise RuntimeError("boom in end_pass")
            return False

        def readout(self) -> Readout:
            if self.where == "readout":
                raise RuntimeError("boom in readout")
            channels = 3 if self.where == "predict" else 256
            return LinearReadout({"layer1": torch.ones(channels)}, 0.0)

    before = dict(PROBES._registered)

    @probe("broken")
    class Broken(Probe):
        where: str = "nowhere"

        @property
        def label(self) -> str:
            return f"broken-{self.where}"

        def trainer(self, context: Context) -> Trainer:
            if self.where == "trainer":
                raise RuntimeError("boom in trainer")
            return Part(self.where)

    yield
    PROBES._registered.clear()
    PROBES._registered.update(before)


@pytest.mark.usefixtures("broken_probes")
def test_a_failing_cell_fails_alone(tmp_path: Path) -> None:
    where = ["trainer", "update", "end_pass", "readout", "predict", "nowhere"]
    outcome, witness = go(tmp_path, probes=["ridge", {"name": "broken", "where": where}], layers=["layer1"])
    cells = read_cells(outcome.folder).set_index("probe")
    assert cells.status.to_dict() == {
        "ridge": "finished",
        **{f"broken-{place}": "failed" for place in where[:-1]},
        "broken-nowhere": "finished",
    }
    for place in where[:-2]:
        assert cells.error[f"broken-{place}"] == f"RuntimeError: boom in {place}"
    assert outcome.counts == {"finished": 2, "failed": 5}
    assert witness.told[-1] == "ended failed"
    assert cells.cc[["ridge", "broken-nowhere"]].notna().all()
    assert set(read_per_image(outcome.folder).cell_key) == set(cells.cell_key[["ridge", "broken-nowhere"]])


def test_diverged_training_is_a_failed_cell(tmp_path: Path) -> None:
    probes = ["ridge", {"name": "sgd", "learning_rate": 1e30, "epochs": 2}, {"name": "sgd", "loss": "kl", "epochs": 2}]
    outcome, _ = go(tmp_path, probes=probes, layers=["layer1"], pictures=0)
    cells = read_cells(outcome.folder).set_index("probe")
    assert cells.status.to_dict() == {"ridge": "finished", "sgd-mse": "failed", "sgd-kl": "finished"}
    assert "lower learning_rate" in cells.error["sgd-mse"]


def test_cells_that_resolve_to_the_same_are_run_once(tmp_path: Path) -> None:
    backbones = [{"name": "resnet50", "weights": "random"}] * 2
    outcome, _ = go(tmp_path, backbones=backbones, probes=["ridge"], layers=["layer1"], pictures=0)
    cells = read_cells(outcome.folder)
    assert list(cells.status) == ["finished", "skipped"]
    assert cells.error[1].startswith("the same cell as resnet50/random · layer1 · ridge")


def test_weights_that_cannot_be_had(tmp_path: Path) -> None:
    missing = {"name": "resnet50", "weights": str(tmp_path / "no.pth")}
    with pytest.raises(WeightsError, match=r"no\.pth"):
        go(tmp_path / "a", backbones=[missing], probes=["ridge", "uniform"], layers=["layer1"])
    kept = read_cells(tmp_path / "a" / "tiny")
    assert list(kept.status) == ["finished", "skipped"]  # what was done before is on disk

    both = [missing, *TINY["backbones"]]
    outcome, _ = go(tmp_path / "b", backbones=both, probes=["ridge"], layers=["layer1"], pictures=0)
    cells = read_cells(outcome.folder)
    assert list(cells.status) == ["skipped", "finished"]
    assert "no.pth" in cells.error[0]


def test_an_interrupt_reaches_the_observers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MapReadout, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(make_plan(parse_recipe(TINY)), tmp_path, Silent(), [witness])
    assert witness.told == ["started", "ended interrupted"]


def test_limits(tmp_path: Path) -> None:
    outcome, _ = go(tmp_path, limit=2, probes=["uniform"])
    assert read_cells(outcome.folder).n_images.item() == 2
    with pytest.raises(DataError, match=r"dataset\.root"):
        go(tmp_path, dataset={"reader": "salicon", "edition": 2015, "points": "mouse"})
