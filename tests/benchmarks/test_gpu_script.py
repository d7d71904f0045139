"""The accelerator's benchmark runs, on a CPU and small, where nothing but torch, torchvision, numpy and Pillow is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import published
from tests.benchmarks.child import ROOT, checkout

ABSENT = """
    mlflow timm pycocotools pandas pyarrow scipy sklearn pydantic rich safetensors yaml matplotlib typer platformdirs
    jaxtyping threadpoolctl huggingface_hub skimage
"""
BARE = """
import sys

absent = set({absent!r})

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
"""The packages are not found, as if they were not installed: who asks whether they are there is told that too."""
CORE = """
    harness.stream harness.training harness.moments harness.heads harness.evaluation harness.calibration
    harness.readout harness.readout_files harness.feature_cache harness.machine probes.ridge probes.sgd probes.centre
    probes.uniform
    backbones.resnet50
"""
SMALL = """
    --device cpu --images 12 --files 4 --height 96 --width 128 --epochs 1 --points 40 --batch-maps 2 --rounds 1
    --workers 0 --precision fp32 --layers stem,layer1 --budget-gib 1
"""
VALUES = {
    "gpu_disagreements": "<= 0",
    "gpu_forward_images_per_s": None,
    "gpu_maps_per_s": ">= 10000",
    "gpu_matrix_images_per_s": None,
    "gpu_matrix_over_forward": "<= 1.25",
    "gpu_share_of_matmul_rate": None,
}


def bare(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter without those packages."""
    command = [sys.executable, "-c", BARE.format(absent=ABSENT.split()) + code, *arguments]
    return subprocess.run(command, cwd=ROOT, env=checkout(), capture_output=True, text=True)


@pytest.mark.parametrize("package", ["pydantic", "pandas"])
def test_the_packages_are_absent(package: str) -> None:
    assert "ModuleNotFoundError" in bare(f"import {package}").stderr


def test_the_core_needs_torch_and_numpy_only() -> None:
    done = bare(f"import importlib; [importlib.import_module(name) for name in {CORE.split()!r}]")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_part_of_the_script(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    out.write_text(json.dumps([published.entry("gpu_other", 1.0, "s", None, "a machine")]))
    code = "import runpy; runpy.run_module('tests.benchmarks.gpu', run_name='__main__', alter_sys=True)"
    done = bare(code, *SMALL.split(), "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    entries = {one["name"]: one for one in json.loads(out.read_text())}
    assert {name: one["goal"] for name, one in entries.items()} == {**VALUES, "gpu_other": None}
    assert all(one["value"] > 0 for name, one in entries.items() if name != "gpu_disagreements")
    checks = entries["gpu_disagreements"]["details"]["checks"]
    assert all(check["difference"] == 0 for check in checks.values())  # a CPU agrees with itself
    matrix = entries["gpu_matrix_over_forward"]["details"]
    assert matrix["cells"] == 11
    phases = matrix["seconds_by_phase"]
    assert {"decode", "forward", "cache", "fit", "solve", "calibrate", "predict", "score", "other"} == set(phases)
    assert sum(phases.values()) == pytest.approx(matrix["seconds"], rel=0.01)
    assert "on host" in matrix["feature_cache"]


def test_unknown_parts_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.gpu", "--only", "forwards"],
        cwd=ROOT,
        env=checkout(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "forwards is none of agreement, card, forward, maps, matrix" in done.stderr
