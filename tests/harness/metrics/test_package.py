from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import torch

from harness.errors import PluginError
from harness.metric_registry import METRICS
from harness.metrics import Metric
from tests.harness.metrics.scenes import scene

NAMES = ("auc", "auc_borji", "auc_judd", "auc_map", "cc", "ig", "kld", "mse", "nss", "sauc", "sim")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("first", ["from harness.metrics import *", "import harness.metrics.sauc", "pass"])
def test_a_metrics_name_is_its_function_whatever_was_imported_first(first: str) -> None:
    code = f"""
from importlib.metadata import entry_points
{first}
points = {{p.name: p.load() for p in entry_points(group="salprobe.metrics")}}
import harness.metrics
for name in {NAMES}:
    function = getattr(harness.metrics, name)
    assert callable(function) and function is points[name].function, name
print("functions")
"""
    assert run(code) == "functions\n"


def test_importing_the_metrics_brings_in_torch_and_nothing_heavier() -> None:
    code = """
import sys, torch
before = set(sys.modules)
import harness.metrics
new = {m.split(".")[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(sorted(new))
"""
    assert run(code) == "['harness']\n"


def test_every_entry_point_is_a_record_under_its_own_name() -> None:
    assert {point.name for point in entry_points(group="salprobe.metrics")} >= set(NAMES)
    for name in NAMES:
        metric = METRICS.get(name)
        assert metric.name == name
        assert metric.bounds[0] < metric.bounds[1]
        assert metric.reference[-4:].isdigit() or metric.reference.endswith(")")


def test_a_record_says_what_its_function_needs() -> None:
    s = scene()
    given = {"density": s.density, "fixations": s.fixations, "nonfixations": s.others, "baseline": s.density.log()}
    for name in NAMES:
        metric = METRICS.get(name)
        positional = [given[need] for need in metric.needs if need != "generator"]
        keyword = {"generator": torch.Generator()} if "generator" in metric.needs else {}
        assert metric.function(s.maps, *positional, **keyword).shape == (3,)


def test_the_registry_refuses_a_bare_function() -> None:
    with pytest.raises(PluginError, match="must be a harness"):
        METRICS.register("mine", torch.sum)  # type: ignore[arg-type]


def test_a_strangers_metric_can_be_registered() -> None:
    mine = Metric("mean_of_the_map", 1, lambda p: p.mean((1, 2)), (), True, (0.0, 1.0), "nobody 2024")
    METRICS.register(mine.name, mine)
    try:
        assert METRICS.get("mean_of_the_map") is mine
    finally:
        METRICS._registered.pop("mean_of_the_map")
