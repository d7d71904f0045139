"""The memory that is promised before a run and what it then takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from harness.machine import stream_settings
from harness.memory import estimate, peak_bytes
from harness.plan import make_plan
from harness.recipe import parse_recipe
from harness.units import gib

CPU = torch.device("cpu")
RECIPE = {
    "name": "memory",
    "dataset": {"reader": "demo", "train": 40, "test": 4, "height": 240, "width": 320},
    "backbones": [{"name": "resnet50", "weights": "random"}],
    "layers": ["layer1", "layer4"],
    "probes": ["ridge", {"name": "sgd", "epochs": 2}, "centre"],
    "grid": 16,
    "workers": 0,
    "pictures": 0,
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"batch_size": 16, "precision": "fp32", "probes": ["ridge"], "folds": 2}])
def test_the_estimate_is_within_thirty_percent(tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / "memory.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}))
    command = [sys.executable, "-m", "harness", "run", str(tmp_path / "memory.yaml"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    promised, taken = (
        float(value) * {"GiB": 1024, "MiB": 1}[unit]
        for value, unit in re.findall(r"memory: (?:about )?([\d.]+) (GiB|MiB) at the peak", done.stdout)
    )
    assert promised == pytest.approx(taken, rel=0.3)


def test_what_each_part_of_the_recipe_costs() -> None:
    def asked(**changes: object) -> object:
        plan = make_plan(parse_recipe({**RECIPE, "precision": "fp32", **changes}))
        train, test = plan.reader.read("train"), plan.reader.read("test")
        return estimate(plan.groups[-1], plan.recipe, train, test, stream_settings(plan.recipe, None, CPU), CPU)

    plain, ridge = asked(), asked(probes=["ridge"])
    assert plain.total == plain.process + plain.cache.placement.total + plain.statistics + max(
        plain.batch, plain.solver
    )
    assert asked(probes=["ridge"], metrics=["cc"]).cache.rows == ()
    assert str(asked(probes=["ridge"], metrics=["cc"]).cache) == "no feature cache"
    assert not ridge.cache.serves_training
    assert len(ridge.cache.rows) == 40  # the images that densities are calibrated on, at most 64
    assert ridge.cache.wanted == 0
    features = 40 * 4 * (256 * 15 * 20 + 2048 * 8 * 10)  # layer1 on the fitting grid, layer4 on its own
    assert plain.cache.wanted == features
    assert str(plain.cache) == f"feature cache {gib(features)} on the host"
    half = asked(cache={"precision": "fp16"})
    assert half.cache.wanted == features // 2
    none = asked(cache={"budget_gib": 0})
    assert none.cache.placement is None
    assert "does not fit, the backbone runs in every pass" in str(none.cache)
    assert ridge.statistics >= 8 * 5 * (256**2 + 2048**2)
    assert asked(batch_size=8).batch == 2 * asked(batch_size=4).batch == asked(batch_size=32).batch
    kept = asked(cache={"keep": True}, probes=["ridge"])
    assert kept.cache.placement.disk == features
    assert "on disk" in str(kept.cache)


def test_the_peak_is_this_programs_not_its_parents() -> None:
    held = torch.ones(200_000_000)  # 0.75 GiB in this process while the other one starts
    code = "from harness.memory import peak_bytes; print(peak_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    alone = int(done.stdout)
    assert peak_bytes() > held.nbytes
    assert alone < 0.75 * peak_bytes()
