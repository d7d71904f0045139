"""Recipes: every mistake is refused with its place named; overrides reach everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness import open_backbone
from harness.errors import RecipeError, UnknownNameError
from harness.plan import make_plan
from harness.recipe import load_recipe, load_recipes, parse_recipe, recipe_names

MINIMAL = {"name": "r", "dataset": "demo", "backbones": ["resnet50"], "layers": ["layer3"], "probes": ["ridge"]}


def with_(**changes: object) -> dict[str, object]:
    return {**MINIMAL, **changes}


def test_short_and_long_forms_are_the_same() -> None:
    long = with_(dataset={"reader": "demo"}, backbones=[{"name": "resnet50"}], probes=[{"name": "ridge"}])
    assert parse_recipe(long) == parse_recipe(dict(MINIMAL))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeed": 3}, "seeed: unknown key"),
        ({"folds": "five"}, "folds: .*got 'five'"),
        ({"folds": 1}, "folds: .*greater than or equal to 2"),
        ({"probes": []}, "probes: .*at least 1"),
        ({"layers": []}, "layers: .*at least 1"),
        ({"input": {"scale": -1}}, r"input\.scale: "),
        ({"input": {"test_scales": []}}, r"input\.test_scales: .*at least 1"),
        ({"input": {"test_scales": [1, 0]}}, r"input\.test_scales\.1: .*greater than 0"),
        ({"input": {"scael": 1}}, r"input\.scael: unknown key"),
        ({"cache": {"budget_gib": "much"}}, r"cache\.budget_gib: "),
        ({"name": "../evil"}, "name: "),
        ({"precision": "fp8"}, "precision: "),
        ({"probes": [{"layers": ["layer3"]}]}, r"probes\.0\.name: Field required"),
    ],
)
def test_a_wrong_recipe_names_the_place(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(with_(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probes": [{"name": "ridge", "alpha": 3}]}, r"probes\.0\.alpha: unknown key[\s\S]*parameters: .*alphas"),
        ({"probes": [{"name": "sgd", "epochs": -1}]}, r"probes\.0: .*epochs must be positive"),
        ({"probes": [{"name": "sgd", "loss": "hinge"}]}, r"probes\.0\.loss: "),
        ({"probes": ["rigde"]}, "no probe is called 'rigde'; did you mean ridge"),
        ({"backbones": ["resnet5"]}, "no backbone is called 'resnet5'; did you mean resnet50"),
        ({"metrics": ["aucc"]}, "no metric is called 'aucc'; did you mean auc"),
        ({"dataset": {"reader": "salicon"}}, r"dataset\.edition: Field required"),
        ({"layers": ["layr3"]}, "no backbone of the recipe has a layer 'layr3'; did you mean layer3"),
        ({"backbones": []}, "backbones: the probes ridge read layers"),
    ],
)
def test_a_wrong_name_or_parameter_names_the_place(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_plan(parse_recipe(with_(**changes)))


def test_overrides_reach_into_lists_and_short_forms(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(MINIMAL))
    recipe = load_recipe(str(file), ["backbones.0.weights=random", "input.scale=0.5", "dataset.train=7", "limit=3"])
    assert recipe.backbones[0].parameters == {"weights": "random"}
    assert recipe.input.scale == 0.5
    assert recipe.dataset.parameters == {"train": 7}
    assert recipe.limit == 3


def test_an_override_changes_its_place_and_not_what_yaml_anchors_made_of_it(tmp_path: Path) -> None:
    """Of a shared list, of a shared mapping, and of what is merged into an entry."""
    file = tmp_path / "r.yaml"
    file.write_text(
        yaml.safe_dump({key: value for key, value in MINIMAL.items() if key != "probes"})
        + """
probes:
  - &first {name: ridge, alphas: [1, 2], penalties: {layer1: 2}}
  - {<<: *first, position: true}
  - *first
"""
    )
    recipe = load_recipe(str(file), ["probes.0.alphas.0=5", "probes.0.penalties.layer1=3", "probes.2.root=0.1"])
    own = [probe.parameters for probe in recipe.probes]
    assert [(one["alphas"], one["penalties"]["layer1"]) for one in own] == [([5, 2], 3), ([1, 2], 2), ([1, 2], 2)]
    assert ["root" in one for one in own] == [False, False, True]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("limit", "write it as key.path=value"),
        ("backbones.3.weights=random", "'3' is not an index below 1"),
        ("name.x=1", "--set name.x=1: name is a str, it has no keys"),
        ("limit=[", "not a YAML value"),
    ],
)
def test_wrong_overrides_say_what_is_wrong(override: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(MINIMAL))
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(file), [override])


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(str(tmp_path / "missing.yaml"))
    for text, message in (
        ("a: [", "not valid YAML"),
        ("- 1", "a mapping of keys"),
        ("!!python/name:os.system", "YAML"),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(RecipeError, match=message):
            load_recipe(str(tmp_path / "bad.yaml"))
    with pytest.raises(UnknownNameError, match="did you mean quickstart"):
        load_recipe("quikstart")


def test_packaged_recipes_can_all_be_planned() -> None:
    assert {"quickstart", "layers", "full", "osie"} <= set(recipe_names())
    for name, text in recipe_names().items():
        plans = [make_plan(recipe) for recipe in load_recipes(name)]
        runs = yaml.safe_load(text).get("runs", {})
        assert [plan.recipe.name for plan in plans] == ([f"{name}-{run}" for run in runs] or [name])
        for plan in plans:
            assert plan.recipe.description
            assert len({cell.label for cell in plan.cells}) == len(plan.cells) > 3


def test_a_list_sweeps_a_parameter_that_takes_no_list() -> None:
    probes = [{"name": "sgd", "loss": ["mse", "kl"], "epochs": [2, 3]}, {"name": "ridge", "alphas": [0.1, 1.0]}]
    plan = make_plan(parse_recipe(with_(probes=probes)))
    assert [cell.probe_label for cell in plan.cells] == [
        "sgd-mse[epochs=2]",
        "sgd-mse[epochs=3]",
        "sgd-kl[epochs=2]",
        "sgd-kl[epochs=3]",
        "ridge",
    ]


def test_layer_sets() -> None:
    probes = ["centre", "ridge", {"name": "pooled", "layers": ["layer4"]}]
    layers = ["each", ["layer3", "layer2"], "all"]
    plan = make_plan(parse_recipe(with_(probes=probes, layers=layers)))
    found = [(cell.layer_set, [layer.name for layer in cell.layers]) for cell in plan.cells]
    stages = ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert found == [
        ("none", []),
        *[(stage, [stage]) for stage in stages],
        ("layer3+layer2", ["layer2", "layer3"]),
        ("all", stages),
        ("layer4", ["layer4"]),
    ]
    assert [len(group.cells) for group in plan.groups] == [1, 8]


def test_blocks_are_those_that_the_backbone_names_alone() -> None:
    small = open_backbone("timm", model="resnet18", weights="random")
    backbones = ["resnet50", {"name": "timm", "model": "resnet18", "weights": "random"}]
    plan = make_plan(parse_recipe(with_(probes=["ridge"], layers=["blocks"], backbones=backbones)))
    ours, theirs = ([cell.layer_set for cell in group.cells] for group in plan.groups)
    assert ours == list(open_backbone("resnet50").blocks())
    assert theirs == [layer.name for layer in small.available_layers()]


def test_a_layer_that_only_another_backbone_has_is_a_skipped_cell() -> None:
    backbones = ["resnet50", {"name": "timm", "model": "resnet18", "weights": "random"}]
    plan = make_plan(parse_recipe(with_(backbones=backbones)))
    assert [cell.skip for cell in plan.cells] == [None, None] or "has no layer layer3" in str(plan.cells[1].skip)
