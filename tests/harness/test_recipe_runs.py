"""A recipe of several runs: each is the recipe with some keys changed, run after the other or chosen by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import RecipeError
from harness.recipe import Limits, load_recipe, load_recipes
from harness.recipe_runs import merged, split_name
from harness.results import read_cells
from tests.harness.commanding import SMALL, Command, salprobe
from tests.harness.interrupted import write_recipe

__all__ = ["salprobe"]  # a fixture

SHARED: dict[str, Any] = {
    "name": "r",
    "dataset": {"reader": "demo", "train": 4, "test": 2},
    "backbones": ["resnet50"],
    "layers": ["layer3"],
    "probes": ["ridge"],
}
RUNS = {"one": {}, "few": {"limit": {"train": 2}, "dataset": {"test": 3}}, "other": {"probes": ["centre"]}}


def recipe(folder: Path, runs: Any, **changes: Any) -> str:
    file = folder / "r.yaml"
    file.write_text(yaml.safe_dump({**SHARED, **changes, "runs": runs}, sort_keys=False))
    return str(file)


def test_a_run_is_the_recipe_with_its_keys_changed(tmp_path: Path) -> None:
    one, few, other = load_recipes(recipe(tmp_path, RUNS))
    assert [r.name for r in (one, few, other)] == ["r-one", "r-few", "r-other"]
    assert one.dataset.parameters == {"train": 4, "test": 2}
    assert few.dataset.parameters == {"train": 4, "test": 3}  # mappings are merged
    assert (few.most_images("train"), few.most_images("test")) == (2, None)
    assert [entry.name for entry in other.probes] == ["centre"]  # lists are replaced
    assert load_recipe(f"{recipe(tmp_path, RUNS)}:few") == few


def test_overrides_reach_every_run(tmp_path: Path) -> None:
    found = load_recipes(recipe(tmp_path, RUNS), ["dataset.train=3", "limit=1"])
    assert {r.dataset.parameters["train"] for r in found} == {3}
    assert {r.limit for r in found} == {1}
    assert load_recipe(f"{recipe(tmp_path, RUNS)}:few", ["limit.test=1"]).limit == Limits(train=2, test=1)


@pytest.mark.parametrize(
    ("runs", "run", "message"),
    [
        ({}, "", "runs: a mapping of names"),
        (["one"], "", "runs: a mapping of names"),
        ({"../x": {}}, "", "is no name for a run"),
        ({"one": 3}, "", r"runs\.one: the keys that it changes, found 3"),
        ({"one": {"name": "x"}}, "", r"runs\.one: a run is named by its place"),
        ({"one": {"runs": {}}}, "", r"runs\.one: .* no runs of its own"),
        ({"one": {"seeed": 1}}, "", "run one:\n.*seeed: unknown key"),
        (RUNS, ":two", "has no run 'two'; it has one, few, other"),
    ],
)
def test_wrong_runs_name_the_place(runs: Any, run: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipes(recipe(tmp_path, runs) + run)


def test_where_one_is_needed_several_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"3 runs \(r-one, r-few, r-other\); choose one"):
        load_recipe(recipe(tmp_path, RUNS))
    with pytest.raises(RecipeError, match="has no runs, so none that is called 'one'"):
        load_recipe("quickstart:one")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("study", ("study", None)),
        ("study:eye", ("study", "eye")),
        ("a/b.yaml:eye-10", ("a/b.yaml", "eye-10")),
        (r"C:\mine.yaml", (r"C:\mine.yaml", None)),
        ("C:mine.yaml", ("C:mine.yaml", None)),
        ("a:b/c.yaml", ("a:b/c.yaml", None)),
    ],
)
def test_the_name_of_a_run(name: str, expected: tuple[str, str | None]) -> None:
    assert split_name(name) == expected


def test_merging_leaves_both_as_they_are() -> None:
    ours, theirs = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [2], "e": None}
    assert merged(ours, theirs) == {"a": {"b": 3, "c": 2}, "d": [2], "e": None}
    assert ours == {"a": {"b": 1, "c": 2}, "d": [1]}


def test_all_runs_one_after_the_other(salprobe: Command, tmp_path: Path) -> None:
    """Each into its own folder."""
    runs = {"fine": {"probes": ["centre", "uniform"]}, "few": {"probes": ["centre"], "limit": {"train": 1}}}
    file = write_recipe(tmp_path, **SMALL, runs=runs)
    said = salprobe("run", file, "--out", tmp_path, "--no-track")
    assert said.code == 0, said.text
    assert len(read_cells(tmp_path / "stopped-few")) == 1
    assert read_cells(tmp_path / "stopped-fine").probe.tolist() == ["centre", "uniform"]
    assert "train: 1 images" in said.text
    dry = salprobe("run", file, "--dry-run")
    assert dry.code == 0
    assert "stopped-fine" in dry.text
    assert "stopped-few" in dry.text
