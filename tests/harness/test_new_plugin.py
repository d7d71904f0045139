"""Packages that `salprobe new` writes: installed for real and tested by their own tests."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from harness.errors import PluginError, UnknownNameError
from harness.new_plugin import RECIPES, write_package

ROOT = Path(__file__).parent.parent.parent


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # the repository first: it is what is tested, wherever an installed copy lies
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The python of a fresh virtual environment that sees this one's packages."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).stdout.strip()
    (Path(purelib) / "neighbours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.mark.slow
def test_every_kind_is_green_at_once(environment: Path, tmp_path: Path) -> None:
    folders = [write_package(kind, f"my-{kind}", tmp_path) for kind in RECIPES]
    editable = [word for folder in folders for word in ("-e", str(folder))]
    run(environment, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", *editable, cwd=tmp_path)
    done = run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", *folders, cwd=tmp_path)
    assert f"{len(folders)} passed" in done.stdout
    for kind in RECIPES:
        listed = run(environment, "-m", "harness", "list", f"{kind}s", cwd=tmp_path)
        (line,) = [line for line in listed.stdout.splitlines() if line.startswith(f"my-{kind} ")]
        assert line.rstrip().endswith(f"(salprobe-my-{kind})")
    (tmp_path / "r.yaml").write_text(
        "name: r\ndataset: {reader: demo, train: 6, test: 3, height: 96, width: 128}\n"
        "backbones: [my-backbone]\nlayers: [all]\nprobes: [my-probe, ridge]\nmetrics: [cc, my-metric]\n"
        "grid: 16\nfolds: 2\nworkers: 0\n"
    )
    ran = run(environment, "-m", "harness", "run", "r.yaml", "--no-track", cwd=tmp_path)
    assert "my-probe" in ran.stdout


def test_what_cannot_be_made(tmp_path: Path) -> None:
    for name in ("np", "torch", "float", "metric"):
        with pytest.raises(PluginError, match="something else"):
            write_package("metric", name, tmp_path)
    with pytest.raises(UnknownNameError, match="probe, backbone, dataset, metric"):
        write_package("gadget", "x", tmp_path)
    with pytest.raises(PluginError, match="ridge already, from salience-probe"):
        write_package("probe", "ridge", tmp_path)
    for name in ("My", "1st", "a b", "lambda", "a/b", ""):
        with pytest.raises(PluginError, match="no name for a probe"):
            write_package("probe", name, tmp_path)
    write_package("probe", "once", tmp_path)
    with pytest.raises(PluginError, match="is there already"):
        write_package("probe", "once", tmp_path)


@pytest.mark.parametrize("kind", RECIPES)
def test_what_is_written_is_short_and_clean(kind: str, tmp_path: Path) -> None:
    folder = write_package(kind, "mine", tmp_path)
    plugin = (folder / "salprobe_mine.py").read_text()
    body = plugin.partition("\n@")[2].splitlines()
    assert len(body) <= 10
    assert "$" not in "".join(file.read_text() for file in folder.rglob("*.*") if file.is_file())
    subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=120", str(folder)], check=True)
