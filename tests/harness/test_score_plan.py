"""Against which data and metrics maps are scored: a recipe's, one of its runs', a reader's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.errors import RecipeError, UnknownNameError
from harness.score import plan_for
from tests.harness.test_score import TINY


def test_what_dataset_names() -> None:
    plan = plan_for("demo", ["dataset.test=3", "limit=2", "metrics=[cc, nss]"])
    assert (plan.reader.label, plan.recipe.limit) == ("demo (synthetic)", 2)
    assert [metric.name for metric in plan.metrics] == ["cc", "nss"]
    assert plan_for("quickstart", []).reader.label == "demo (synthetic)"
    with pytest.raises(UnknownNameError, match="did you mean quickstart"):
        plan_for("quikstart", [])
    with pytest.raises(RecipeError, match=r"--dataset demo:\n.*dataset"):
        plan_for("demo", ["dataset=1"])


def test_a_recipes_own_plugins_and_runs_are_known(tmp_path: Path) -> None:
    metric = """
from harness import metric

@metric("nothing", higher_is_better=True)
def nothing(maps, fixations):
    "Always 0."
    return maps.mean(dim=(1, 2)) * 0
"""
    (tmp_path / "own_metric.py").write_text(metric)
    recipe = {**TINY, "plugins": ["own_metric.py"], "metrics": ["nothing"], "runs": {"a": {}, "b": {"limit": 2}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
    plan = plan_for(f"{tmp_path / 'own.yaml'}:b", [])
    assert ([found.name for found in plan.metrics], plan.recipe.limit) == (["nothing"], 2)
    with pytest.raises(RecipeError, match=r"is 2 runs .*choose one"):
        plan_for(str(tmp_path / "own.yaml"), [])
