"""Trained on one dataset, tested on another: what is read, what it is called, what the numbers are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from harness.crossing import data_label
from harness.data.images import read_image
from harness.errors import DataError, RecipeError
from harness.export import export_cell
from harness.identity import identity
from harness.metrics import cc
from harness.overlap import refuse_overlap
from harness.plan import make_plan, readers
from harness.predictor import Predictor
from harness.progress import Silent
from harness.readout_files import load_readout
from harness.recipe import load_recipe, parse_recipe
from harness.results import read_cells, read_per_image
from harness.run import about, matrix_id, run
from harness.score import Scoring, plan_for
from harness.splits import read_splits
from harness.tracking.datasets import dataset_inputs
from harness.types import Batch
from reports._board import read_board
from reports.provenance import facts

PEOPLE = ("ann", "bob", "cem", "dot")
Sizes = list[tuple[int, int]]


def folder(root: Path, sizes: Sizes, seed: int, points: int = 4) -> dict[str, Any]:
    """A dataset of the `folder` reader, its people looking at the middle; every image has a size of the list."""
    rng, rows = np.random.default_rng(seed), []
    (root / "images").mkdir(parents=True)
    for number, (height, width) in enumerate(sizes, 1):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        for person in PEOPLE:
            x, y = rng.normal(width / 2, width / 8, points), rng.normal(height / 2, height / 8, points)
            rows += [
                (f"{number}.png", person, *xy) for xy in zip(x.clip(0, width - 1), y.clip(0, height - 1), strict=True)
            ]
    pd.DataFrame(rows, columns=["image", "observer", "x", "y"]).to_csv(root / "gaze.csv", index=False)
    return {"reader": "folder", "root": str(root)}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Landscape images of one size against images of three sizes and shapes, with ten times the points."""
    root = tmp_path_factory.mktemp("data")
    one = folder(root / "one", [(96, 128)] * 8, seed=1)
    other = folder(root / "other", [(96, 128), (128, 96), (60, 200), (128, 96), (60, 200)], seed=2, points=40)
    return {
        "name": "across",
        "dataset": {**one, "title": "one", "split": {"test": 2}},
        "test_dataset": {**other, "title": "other", "points": "mouse", "split": {"test": 1.0}},
        "backbones": ["pixels"],
        "layers": ["all"],
        "probes": ["ridge", "centre", "observers"],
        "metrics": ["cc", "auc", "nss", "ig", "sauc"],
        "grid": 16,
        "folds": 2,
        "workers": 0,
        "pictures": 2,
    }


@pytest.fixture(scope="module")
def finished(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_plan(parse_recipe(recipe)), tmp_path_factory.mktemp("run"), Silent()).folder


def row(folder: Path, probe: str) -> Any:
    cells = read_cells(folder)
    return cells[cells.probe == probe].iloc[0]


def test_every_place_names_both(finished: Path, recipe: dict[str, Any]) -> None:
    cells = read_cells(finished)
    assert set(cells.status) == {"finished"}
    assert set(cells.dataset) == {"one -> other"}
    assert set(cells.n_images) == {5}
    assert np.isfinite(cells[["cc", "auc", "nss", "ig", "sauc"]]).all(axis=None)
    document = json.loads((finished / "run.json").read_text())["dataset"]
    assert (document["points"], document["test"]["images"]) == ("mouse", 5)
    assert (document["trained_on"]["points"], document["train"]["images"]) == ("eye", 6)
    key = row(finished, "ridge").cell_key
    cell = json.loads((finished / "cells" / key / "cell.json").read_text())
    assert cell["resolved"]["dataset"]["points"] == "eye"
    assert cell["resolved"]["test_dataset"] == {"name": "folder", "edition": "custom", "points": "mouse"}
    assert facts(read_board(finished))["dataset"] == "folder, custom, eye -> folder, custom, mouse"
    assert load_recipe(str(finished / "recipe.yaml")).test_dataset == parse_recipe(recipe).test_dataset


def test_mlflow_is_told_of_both(finished: Path) -> None:
    from harness.finished_run import read_record

    train, test = (found.dataset for found in dataset_inputs(read_record(finished)))
    assert (train.name, test.name) == ("one train", "other test")
    assert [json.loads(d.source)["points"] for d in (train, test)] == ["eye", "mouse"]
    assert [d.schema.count("mouse") for d in (train, test)] == [0, 1]


def test_it_is_the_readout_of_the_one_scored_on_the_images_of_the_other(
    finished: Path, recipe: dict[str, Any], tmp_path: Path
) -> None:
    """The weights are those of a run on the training set alone; each score is that of the map by hand."""
    alone = {name: value for name, value in recipe.items() if name != "test_dataset"}
    usual = run(make_plan(parse_recipe({**alone, "probes": ["ridge"], "pictures": 0})), tmp_path, Silent()).folder
    folders = [run / "cells" / row(run, "ridge").cell_key for run in (finished, usual)]
    one, other = (load_readout(cell).state() for cell in folders)
    assert one[1] == other[1]
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])

    _, test = read_splits(make_plan(parse_recipe(recipe)), Silent())
    predictor = Predictor.load(folders[0], torch.device("cpu"))
    scores = read_per_image(finished).query("cell_key == @folders[0].name").set_index("image_id")
    assert len(test.sizes) == 3
    for i, id_ in enumerate(test.ids):
        pixels = read_image(test.files[i], int(id_)).permute(1, 2, 0).numpy()
        size = test.size(i)
        truth = Batch((0,), size, (1, 1), (test.points(i),), {}, (0,), sigma=19 * size[0] / 480)
        found = cc(torch.from_numpy(predictor.map(pixels))[None], truth.density).item()
        assert found == pytest.approx(scores.cc[id_], abs=2e-3)


def test_the_floor_is_of_the_training_images_the_ceiling_of_the_held_out_ones(
    finished: Path, recipe: dict[str, Any]
) -> None:
    train, _ = read_splits(make_plan(parse_recipe(recipe)), Silent())
    batches = [
        Batch((0,), train.size(i), (1, 1), (train.points(i),), {}, (0,), 19 * 96 / 480) for i in range(len(train))
    ]
    mean = torch.cat([batch.target((120, 160)) for batch in batches]).mean(0)
    floor = load_readout(finished / "cells" / row(finished, "centre").cell_key).state()[0]["bias"]
    torch.testing.assert_close(floor, mean / mean.mean(), rtol=1e-4, atol=1e-5)

    # ten times as many points as in training: what makes densities of the ceiling's maps is not thrown off by it
    assert row(finished, "observers").ig > row(finished, "centre").ig - 0.2
    assert (row(finished, "centre").bound, row(finished, "observers").bound) == ("floor", "ceiling")


def test_export_and_score_go_by_the_held_out_dataset(finished: Path, recipe: dict[str, Any], tmp_path: Path) -> None:
    export_cell(finished, "ridge", "npy", tmp_path / "maps", Silent())
    assert len(list((tmp_path / "maps").iterdir())) == 5
    plan = plan_for(str(finished / "recipe.yaml"), [])
    result, scored = Scoring(tmp_path / "maps", plan, "mine").run(tmp_path, Silent())
    assert result.metrics["cc"] == pytest.approx(row(finished, "ridge").cc, abs=1e-6)
    assert result.cell.dataset == "other"
    again = load_recipe(str(scored / "recipe.yaml"))
    assert again.dataset == parse_recipe(recipe).test_dataset
    assert not again.crosses


def test_without_a_test_dataset_keys_are_what_they_were(recipe: dict[str, Any]) -> None:
    alone = {name: value for name, value in recipe.items() if name != "test_dataset"}
    same = parse_recipe({**alone, "test_dataset": alone["dataset"]})
    usual = parse_recipe(alone)
    assert not same.crosses
    plan = make_plan(usual)
    train, test = read_splits(plan, Silent())
    found = [identity(plan.cells[0], r, train, test, None, plan.metrics) for r in (usual, same, parse_recipe(recipe))]
    assert found[0] == found[1]
    assert set(found[2]) - set(found[0]) == {"test_dataset"}
    assert matrix_id(usual, train, test) == matrix_id(same, train, test)
    here, there = (
        parse_recipe({**alone, "dataset": {"reader": "salicon", "root": root}}) for root in ("here", "/there")
    )
    assert matrix_id(here, train, test) == matrix_id(there, train, test)
    assert "trained_on" not in about(train, test)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_dataset": {"reader": "folder", "rot": "x"}}, r"test_dataset\.rot: unknown key"),
        ({"test_dataset": {"reader": "fodler"}}, "no dataset is called 'fodler'; did you mean folder"),
        ({"test_dataset": {"reader": "salicon"}}, r"test_dataset\.edition: Field required"),
        ({"test_dataset": {"root": "x"}}, r"test_dataset\.reader: Field required"),
    ],
)
def test_a_wrong_test_dataset_names_the_place(recipe: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_plan(parse_recipe({**recipe, **changes}))


def test_what_cannot_be_read_names_the_place(recipe: dict[str, Any]) -> None:
    for dataset in ({"reader": "folder"}, {"reader": "folder", "root": "/not/dataset.there"}):
        with pytest.raises(DataError, match=r"set test_dataset\.root=FOLDER") as caught:
            read_splits(make_plan(parse_recipe({**recipe, "test_dataset": dataset})), Silent())
        assert "/not/test_dataset" not in str(caught.value)
        with pytest.raises(DataError, match=r"set dataset\.root=FOLDER"):
            read_splits(make_plan(parse_recipe({**recipe, "dataset": dataset})), Silent())


def test_overrides_reach_into_the_short_form(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("{name: r, dataset: demo, test_dataset: folder, probes: [centre]}")
    recipe = load_recipe(str(file), ["test_dataset.root=here"])
    assert recipe.test_dataset is not None
    assert (recipe.held_out.name, recipe.held_out.parameters) == ("folder", {"root": "here"})


def test_equal_names_are_told_apart_by_what_differs() -> None:
    osie = {"reader": "salicon", "edition": "custom", "points": "eye", "root": "x"}
    mouse = {**osie, "points": "mouse", "root": "y"}

    def label(one: dict[str, Any], other: dict[str, Any] | None) -> str:
        recipe = parse_recipe({"name": "r", "dataset": one, "test_dataset": other, "probes": ["centre"]})
        return data_label(recipe, *readers(recipe))

    assert label(osie, None) == "salicon"
    assert label(osie, osie) == "salicon"
    assert label(osie, mouse) == "salicon[points=eye] -> salicon[points=mouse]"
    assert label({**osie, "title": "OSIE eye"}, {**mouse, "title": "OSIE mouse"}) == "OSIE eye -> OSIE mouse"
    assert label(osie, {"reader": "demo"}) == "salicon -> demo (synthetic)"
    assert label(osie, {**osie, "root": "y"}) == "salicon -> salicon"


def test_held_out_images_that_are_trained_on_are_counted(recipe: dict[str, Any]) -> None:
    """Two readings of one dataset, whose seeded splits overlap."""
    elsewhere = {**recipe["dataset"], "title": "again", "split": {"test": 1.0}}
    train, test = read_splits(make_plan(parse_recipe({**recipe, "test_dataset": elsewhere})), Silent())
    with pytest.raises(DataError, match="6 of 8 held-out images are training images, too"):
        refuse_overlap(train, test, False)
    assert len(refuse_overlap(train, test, True)) == 6
    assert not len(refuse_overlap(*read_splits(make_plan(parse_recipe(recipe)), Silent()), False))


def test_each_dataset_has_its_own_choice_of_people(recipe: dict[str, Any]) -> None:
    changed = {
        **recipe,
        "dataset": {**recipe["dataset"], "observers": {"only": ["ann", "bob"]}},
        "test_dataset": {**recipe["test_dataset"], "observers": {"without": ["ann"]}},
    }
    train, test = read_splits(make_plan(parse_recipe(changed)), Silent())
    assert [{split.observer_labels[c] for c in split.observer} for split in (train, test)] == [
        {"ann", "bob"}, {"bob", "cem", "dot"},
    ]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [("eye", "mouse"), ("mouse", "eye")])
@pytest.mark.skipif("SALPROBE_TEST_DATA" not in os.environ, reason="SALPROBE_TEST_DATA is not set: no real data here")
def test_osie_s_eye_and_mouse(one: str, other: str) -> None:
    """The files share their images by split: nothing of the training images is tested on."""
    osie640 = Path(os.environ["SALPROBE_TEST_DATA"]) / "osie640"
    entries = [
        {"reader": "salicon", "root": str(osie640), "edition": "custom", "points": kind}
        | {"train": f"fixations_{kind}_train.json", "test": f"fixations_{kind}_val.json"}
        for kind in (one, other)
    ]
    recipe = {"name": "r", "dataset": entries[0], "test_dataset": entries[1], "probes": ["centre"]}
    train, test = read_splits(make_plan(parse_recipe(recipe)), Silent())
    assert (len(train), len(test)) == (500, 200)
    assert (train.points_kind, test.points_kind) == (one, other)
    assert not len(refuse_overlap(train, test, False))
