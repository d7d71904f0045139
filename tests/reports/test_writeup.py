"""The study's write-up: facts are those of the result files, the page is made of the facts, claims are checked."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from backbones.resnet50 import ResNet50
from harness.errors import ResultsError
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import read_cells, read_per_image
from harness.run import run
from reports.study import read_studies
from reports.writeup import __main__ as command
from reports.writeup.choices import (
    CONTROLS,
    REGISTERED,
    Facts,
    best,
    blocks,
    cost,
    draws,
    find,
    gains,
    planned,
    single,
    span,
    trained,
    untrained,
)
from reports.writeup.facts import check_complete, gather, read_runs
from reports.writeup.figures import learning_curve
from reports.writeup.render import ClaimError, claim, gained, number, render, signed

PUBLISHED = Path(__file__).parents[2] / "reports" / "published" / "study"
RECIPE = {
    "name": "study-eye",
    "dataset": {"reader": "demo", "train": 6, "test": 4, "height": 96, "width": 128},
    "backbones": [{"name": "resnet50", "weights": "random"}],
    "layers": ["layer3.5", "layer4.0", "all"],
    "probes": ["ridge", {"name": "sgd", "epochs": 1}, "centre", "observers"],
    "folds": 2,
}


@pytest.fixture(scope="module")
def published() -> Facts:
    facts: Facts = json.loads((PUBLISHED / "facts.json").read_text(encoding="utf-8"))
    return facts


def test_facts_are_what_the_result_files_say(tmp_path: Path, published: Facts) -> None:
    folder = run(make_plan(parse_recipe(RECIPE)), tmp_path, Silent()).folder
    (study,) = read_studies([folder])
    facts = gather({"eye": study})
    cells = read_cells(folder).set_index("cell_key")
    assert {cell["key"] for cell in facts["cells"]["eye"]} == set(cells.index)
    for cell in facts["cells"]["eye"]:
        row = cells.loc[cell["key"]]
        assert cell["cc"] == pytest.approx(row["cc"], abs=5e-5)
        assert cell["cc_ci_low"] == pytest.approx(row["cc_ci_low"], abs=5e-5)
        assert cell["fitting_seconds"] == pytest.approx(row["time_fit_s"] + (row.get("time_solve_s") or 0), abs=0.006)
    about = facts["runs"]["eye"]
    assert (about["train"], about["test"], about["cells"], about["unfinished"]) == (6, 4, len(cells), 0)
    top = find(facts["cells"]["eye"], label=facts["failures"]["cell"])
    assert top is not None
    images = read_per_image(folder).query("cell_key == @top['key']").set_index("image_id")["cc"].sort_values()
    assert [one["image"] for one in facts["failures"]["worst"]] == images.index.tolist()[:5]
    assert facts["failures"]["worst"][0]["cc"] == pytest.approx(images.iloc[0], abs=5e-5)
    read = read_runs(folder.parent)
    assert list(read) == ["eye"]
    added = gather(read, published)
    assert added["cells"]["eye"] == facts["cells"]["eye"]
    assert added["failures"] == facts["failures"]
    assert list(added["runs"]) == list(published["runs"])
    for part in ("runs", "cells", "tests"):
        assert {name: added[part][name] for name in added[part] if name != "eye"} == {
            name: published[part][name] for name in published[part] if name != "eye"
        }


def test_runs_that_differ_in_training_alone_are_compared_image_by_image(tmp_path: Path, published: Facts) -> None:
    weights = tmp_path / "any.safetensors"  # by another name than the control's
    save_file(dict(ResNet50(weights="random").load(torch.device("cpu")).module.state_dict()), weights)
    layers: dict[str, Any] = {"layers": ["layer3.5"], "probes": ["ridge", {"name": "sgd", "loss": "kl", "epochs": 1}]}
    layers["backbones"] = [{"name": "resnet50", "weights": str(weights)}]
    for more in ({}, {"name": "study-eye-200", "limit": {"train": 4}}):
        run(make_plan(parse_recipe({**RECIPE, **layers, **more})), tmp_path, Silent())
    runs = read_runs(tmp_path)
    assert list(runs) == ["eye", "eye-200"]
    facts = gather(runs)
    assert list(facts["between"]) == ["eye-200"]
    first, second = (read_per_image(tmp_path / f"study-{name}").set_index("image_id") for name in runs)
    for test in facts["between"]["eye-200"]:
        a, b = (
            images[images["cell_key"] == find(facts["cells"][name], layers=test["layers"], probe=test["probe"])["key"]]
            for images, name in ((first, "eye"), (second, "eye-200"))
        )
        assert test["difference"] == pytest.approx((a["cc"] - b["cc"]).mean(), abs=2e-6)
        assert test["low"] <= test["difference"] <= test["high"]
        assert test["images"] == 4
    assert [(test["layers"], test["probe"]) for test in facts["between"]["eye-200"]] == [
        ("layer3.5", "ridge"),
        ("layer3.5", "sgd-kl"),
    ]
    assert max(test["p_holm"] / test["p_value"] for test in facts["between"]["eye-200"]) == pytest.approx(2)
    # neither run is another: the test still holds; one is: it does not
    assert gather({}, facts)["between"] == facts["between"]
    assert gather({"eye": runs["eye"]}, facts)["between"] == {}
    known = {**published, "between": facts["between"]}
    assert gained(known, "eye-200", "layer3.5", "ridge") == signed(facts["between"]["eye-200"][0])
    assert gained({**known, "between": {}}, "eye-200", "layer3.5", "ridge").endswith("(not tested)")


def test_without_runs_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["writeup", str(tmp_path), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == ResultsError.exit_code
    assert re.search(r"no study-eye, study-mouse, .*; first: salprobe run study --out", capsys.readouterr().err)
    assert not list((tmp_path / "out").iterdir())


def test_the_published_page_is_made_of_the_published_facts(published: Facts) -> None:
    assert render(published) == (PUBLISHED / "README.md").read_text(encoding="utf-8")
    for picture in ("layers.png", "learning.png", "worst.jpg"):
        assert (PUBLISHED / picture).stat().st_size > 10_000


def test_page_and_figures_are_written_from_facts_alone(
    published: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "facts.json").write_text(json.dumps(published))
    monkeypatch.setattr("sys.argv", ["writeup", "--out", str(tmp_path)])
    command.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "facts.json", "layers.png", "learning.png"]


def test_a_sentence_that_is_no_longer_true_is_named(published: Facts) -> None:
    wrong = copy.deepcopy(published)
    for cell in wrong["cells"]["eye"]:
        if cell["layers"] == "all blocks":
            cell["cc"] = 0.1
    with pytest.raises(ClaimError, match=r"do not say .*Reading several blocks adds"):
        render(wrong)
    with pytest.raises(ClaimError, match="it is so"):
        claim(False, "it is so")


def test_choices_on_the_published_facts(published: Facts) -> None:
    cells = published["cells"]["eye"]
    layers = [cell["layers"] for cell in single(trained(cells))]
    assert len(layers) == 17
    assert layers[0] == "stem"
    assert layers[-1] == "layer4.2"
    assert best(single(trained(cells)))["cc"] == max(cell["cc"] for cell in single(trained(cells)))
    assert all(cell["weights"].startswith("random") for cell in untrained(cells))
    assert gains(trained(cells), "ridge", "ridge") == dict.fromkeys(layers, 0.0)
    assert cost(cells, "ridge") == pytest.approx(sum(c["fitting_seconds"] for c in cells if c["probe"] == "ridge"))
    made = {(test["a"], test["b"]) for test in published["tests"]["eye"]}
    assert {(a["label"], b["label"]) for a, b in planned(cells)} == made
    *registered, (fourth, third) = planned(published["cells"]["eye-registered"])
    assert [(a["label"], b["label"]) for a, b in (*registered, (fourth, third))] == [
        (test["a"], test["b"]) for test in published["tests"]["eye-registered"]
    ]
    assert (fourth["layers"][:6], third["layers"]) == ("layer4", "layer3.5@1")
    assert all(a["label"].replace("+registered", "", 1) == b["label"] != a["label"] for a, b in registered)
    assert {a["layers"] for a, _ in registered} == {*blocks(REGISTERED), "all"}
    curve = learning_curve(published, layers="layer3.5", probe="ridge")
    assert [images for images, _ in curve] == [10, 20, 50, 100, 200, 500]


def test_draws_of_untrained_weights_are_told_apart(published: Facts) -> None:
    controls = published["cells"][CONTROLS]
    further = draws(controls)
    assert [{cell["weights"] for cell in cells} for cells in further] == [{"random-1"}, {"random-2"}]
    assert all({cell["layers"] for cell in cells} == {*blocks(CONTROLS), "all"} for cells in further)
    assert further[0][0]["cc"] != further[1][0]["cc"]
    (first,) = draws(published["cells"]["eye"])
    assert {cell["weights"] for cell in first} == {"random"}
    ((two, one),) = planned(controls)
    assert (two["layers"], one["layers"]) == ("two sizes", "one size")
    fewer = copy.deepcopy(published)
    fewer["cells"][CONTROLS] = [cell for cell in controls if cell["label"] != further[1][0]["label"]]
    with pytest.raises(ResultsError, match=f"lack: {CONTROLS}, random-2: {further[1][0]['layers']}$"):
        render(fewer)


def test_numbers_as_people_read_them() -> None:
    assert (number(1234.5, 0), number(-0.0042), number(0.95, 2)) == ("1,234", "−0.004", "0.95")
    test = {"difference": -0.0214, "low": -0.03, "high": -0.01, "p_value": 0.004, "p_holm": 0.0123, "images": 200}
    assert signed(test) == "−0.021 [−0.030, −0.010], p = 0.012"
    least = {**test, "p_value": 0.0001, "p_holm": 0.0025}  # none of 10,000 flips was as extreme
    assert signed(least) == "−0.021 [−0.030, −0.010], p ≤ 0.003"
    assert signed({**least, "images": 10}).endswith("p = 0.003")  # all flips were tried


def test_missing_cells_are_named_and_nothing_is_written(published: Facts, tmp_path: Path) -> None:
    fewer = copy.deepcopy(published)
    eye = fewer["cells"]["eye"]
    gone = ("observers", "layer2.1 · sgd-kl")
    fewer["cells"]["eye"] = [cell for cell in eye if not cell["label"].endswith(gone) or "random" in cell["label"]]
    with pytest.raises(ResultsError, match=r"lack: eye: layer2\.1 · sgd-kl; eye: observers$"):
        command.write(fewer, tmp_path)
    fewer["cells"]["eye"] = [cell for cell in eye if cell["backbone"] != "pixels" and cell["weights"] != "random"]
    with pytest.raises(ResultsError, match=r"lack: eye, random: stem · ridge; .*; eye: pixels · ridge$"):
        command.write(fewer, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_with_unfinished_cells_is_refused(published: Facts, tmp_path: Path) -> None:
    check_complete(published, tmp_path)
    partly = copy.deepcopy(published)
    partly["runs"]["mouse"]["unfinished"] = 2
    with pytest.raises(ResultsError, match="study-mouse has 2 cells that did not finish; salprobe run study:mouse"):
        check_complete(partly, tmp_path)


def test_a_span_of_layers() -> None:
    assert span({"stem": 1.0, "layer1.0": 2.0, "layer1.1": 3.0}, "layer1.0", "layer1.1") == [2.0, 3.0]
