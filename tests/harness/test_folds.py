"""All folds with one command: a run for each, and their cells as one matrix on all images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from harness.commands import CELLS_FAILED, OK, run_recipe
from harness.errors import RecipeError, ResultsError
from harness.find_readout import find_cell
from harness.finished_run import read_run
from harness.folds import by_fold
from harness.overlap import overlap_words
from harness.recipe import load_recipe, parse_recipe
from harness.results import read_cells, read_folds, read_pairs, read_per_image
from reports._board import read_board
from reports.folds import by_fold as scores_by_fold
from tests.harness.test_crossing import folder

N = 8


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = folder(tmp_path_factory.mktemp("data") / "set", [(48, 64), (64, 48)] * (N // 2), seed=3)
    return {
        "name": "mine",
        "dataset": {**data, "split": {"folds": 3, "fold": "all", "seed": 1}},
        "probes": ["centre", "uniform", "observers"],
        "metrics": ["cc", "nss"],
        "tracking": {"enabled": False},
        "pictures": 0,
        "folds": 2,
    }


@pytest.fixture(scope="module")
def out(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "mine.yaml").write_text(yaml.safe_dump(recipe))
    assert run_recipe(str(folder / "mine.yaml"), [], folder / "out") == OK
    return folder / "out"


def test_every_image_is_scored_in_one_fold_and_pooled_as_it_was_there(out: Path) -> None:
    pooled, cells = read_per_image(out / "mine"), read_cells(out / "mine")
    assert set(cells.dataset) == {"folder, 3 folds"}
    parts = [out / f"mine-fold{fold}" for fold in range(3)]
    for cell in cells.itertuples():
        mine = pooled[pooled.cell_key == cell.cell_key].set_index("image_id")
        assert sorted(mine.index) == list(range(1, N + 1))
        assert (cell.n_images, cell.status) == (N, "finished")
        assert cell.cc == pytest.approx(mine.cc.mean(), rel=1e-12)
        assert cell.cc_ci_low <= cell.cc <= cell.cc_ci_high
        for part in parts:
            key, there = read_cells(part).set_index("probe").cell_key[cell.probe], read_per_image(part)
            there = there[there.cell_key == key].set_index("image_id")
            pd.testing.assert_frame_equal(mine.loc[there.index, ["cc", "nss"]], there[["cc", "nss"]])
    assert len(read_pairs(out / "mine")) == 3


def test_a_reader_sees_each_fold(out: Path) -> None:
    table = read_folds(out / "mine")
    assert table is not None
    assert sorted(table.fold.unique()) == [0, 1, 2]
    assert table.groupby("cell_key").n_images.sum().tolist() == [N] * 3
    board = read_board(out / "mine")
    shown = dict(scores_by_fold(board))
    means = [read_cells(out / f"mine-fold{fold}").set_index("probe").cc["centre"] for fold in range(3)]
    assert shown["centre"] == [f"{mean:.3f}" for mean in means]
    assert list(scores_by_fold(read_board(out / "mine-fold0"))) == []


def test_untrained_networks_of_several_seeds_are_several_cells(recipe: dict[str, Any], tmp_path: Path) -> None:
    backbone = {"name": "resnet50", "weights": "random", "seed": [0, 1], "layers": ["stem"]}
    data = {**recipe["dataset"], "split": {"folds": 2, "fold": "all", "seed": 1}}
    (tmp_path / "seeds.yaml").write_text(
        yaml.safe_dump({**recipe, "dataset": data, "backbones": [backbone], "probes": ["ridge"]})
    )
    assert run_recipe(str(tmp_path / "seeds.yaml"), [], tmp_path / "out") == OK
    cells = read_cells(tmp_path / "out" / "mine")
    assert len(cells) == cells.cell_key.nunique() == 2
    assert cells.cc.nunique() == 2
    assert cells.n_images.tolist() == [N, N]


def test_the_folder_is_a_run_s(out: Path, recipe: dict[str, Any]) -> None:
    back = read_run(out / "mine")
    assert {result.cell.probe_label for result in back.results} == {"centre", "uniform", "observers"}
    assert load_recipe(str(out / "mine" / "recipe.yaml")).dataset == parse_recipe(recipe).dataset
    document = json.loads((out / "mine" / "run.json").read_text())["dataset"]
    assert document["test"]["images"] == N
    assert [fold["train"]["images"] + fold["test"]["images"] for fold in document["folds"]] == [N] * 3
    alone = load_recipe(str(out / "mine-fold1" / "recipe.yaml"))
    assert alone.dataset.parameters["split"] == {"folds": 3, "fold": 1, "seed": 1}


def test_what_each_fold_is_flagged_with_and_left_out_is_told_of_all(tmp_path: Path) -> None:
    """A ridge at the edge of its grid, images that are the same, one that nobody can read."""
    data = folder(tmp_path / "set", [(48, 64)] * N, seed=3)
    images = sorted((tmp_path / "set").rglob("*.png"))
    for image in images[4:]:
        image.write_bytes(images[3].read_bytes())
    images[2].write_bytes(b"no image")
    recipe = {
        "name": "mine",
        "dataset": {**data, "on_bad": "skip", "split": {"folds": 2, "fold": "all", "seed": 1}},
        "backbones": [{"name": "resnet50", "weights": "random", "layers": ["stem"]}],
        "probes": [{"name": "ridge", "alphas": [1e6, 1e7]}],
        "metrics": ["cc"],
        "allow_overlap": True,
        "tracking": {"enabled": False},
        "pictures": 0,
        "folds": 2,
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    assert run_recipe(str(tmp_path / "mine.yaml"), [], tmp_path / "out") == OK
    assert read_cells(tmp_path / "out" / "mine")["flags"].tolist() == ["edge"]
    (back,) = read_run(tmp_path / "out" / "mine").results  # as `salprobe track` tells it to MLflow
    assert back.info["flags"] == ["edge"]
    with pytest.raises(ResultsError, match=r"all folds together, name the folder of one \(mine-fold0, ...\)"):
        find_cell(str(tmp_path / "out" / "mine"), None, tmp_path, tmp_path)
    documents = [
        json.loads((tmp_path / "out" / f"mine{part}" / "run.json").read_text())["dataset"]
        for part in ("", "-fold0", "-fold1")
    ]
    together, *folds = documents
    assert together["overlap"]["images"] == sum(fold.get("overlap", {"images": 0})["images"] for fold in folds) > 0
    assert "held-out images are training images, too" in overlap_words(together)
    assert [image["id"] for image in together["skipped"]] == [3]
    assert together["source"] == folds[0]["source"]


def test_a_cell_that_failed_in_one_fold_has_not_finished(recipe: dict[str, Any], tmp_path: Path) -> None:
    plugin = tmp_path / "fails.py"
    plugin.write_text(
        "from harness.data.dataset import Dataset\n"
        "from harness import Probe, Trainer, probe\n"
        "from probes.centre import CentreTrainer\n"
        "@probe('moody')\n"
        "class Moody(Probe):\n"
        "    '''Fails where it meets image 1 in training.'''\n"
        "    reads = 'gaze'\n"
        "    def trainer(self, context):\n"
        "        return MoodyTrainer((12, 16))\n"
        "class MoodyTrainer(CentreTrainer):\n"
        "    def update(self, batch):\n"
        "        if 1 in batch.ids:\n"
        "            raise RuntimeError('image 1')\n"
        "        super().update(batch)\n"
    )
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**recipe, "probes": ["centre", "moody"]}))
    assert run_recipe(str(tmp_path / "mine.yaml"), [], tmp_path / "out", [plugin]) == CELLS_FAILED
    cells = read_cells(tmp_path / "out" / "mine").set_index("probe")
    assert cells.status.to_dict() == {"centre": "finished", "moody": "failed"}
    assert cells.error["moody"].count("RuntimeError: image 1") == 2
    assert np.isnan(cells.cc["moody"])


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"fold": "all"}, "how many"),
        ({"folds": 3, "fold": []}, r"some of 0 \.\. 2"),
        ({"folds": 3, "fold": [0, 3]}, r"some of 0 \.\. 2"),
        ({"folds": 3, "fold": [0, "one"]}, r"some of 0 \.\. 2"),
        ({"folds": 3, "fold": [1, 1]}, "listed twice"),
    ],
)
def test_a_list_of_folds_that_makes_no_sense(recipe: dict[str, Any], split: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=rf"dataset\.split\.fold: .*{message}"):
        by_fold(parse_recipe({**recipe, "dataset": {**recipe["dataset"], "split": split}}))


def test_folds_hold_out_images_of_the_dataset_itself(recipe: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="leave out test_dataset"):
        by_fold(parse_recipe({**recipe, "test_dataset": "demo"}))


def test_one_fold_is_a_run_as_ever(recipe: dict[str, Any]) -> None:
    for split in ({"folds": 3, "fold": 1}, {"test": 0.2}, None):
        assert by_fold(parse_recipe({**recipe, "dataset": {**recipe["dataset"], "split": split}})) == {}
    chosen = by_fold(parse_recipe({**recipe, "dataset": {**recipe["dataset"], "split": {"folds": 5, "fold": [3, 0]}}}))
    assert {fold: one.name for fold, one in chosen.items()} == {3: "mine-fold3", 0: "mine-fold0"}
    assert chosen[3].dataset.parameters["split"] == {"folds": 5, "fold": 3}
