"""Names of files that are markup, no text, or as long as a disk takes, from the images to MLflow and the report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.data._splitting import Splitting
from harness.data.folder import Folder
from harness.data.salicon import Salicon
from harness.predictions import find_maps
from harness.results import read_cells
from harness.shown import shown
from tests.harness.data.roots import annotation, image, write_root
from tests.harness.hostile_run import BROKEN, NAMES, READABLE, SCRIPT, folder_recipe, pictures
from tests.reports.html import Page

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")


def salprobe(*arguments: str | Path, code: int = 0) -> str:
    """What it prints; nothing it prints is a traceback or moves the cursor of a terminal."""
    changed = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)],
        capture_output=True,
        env={**changed, "COLUMNS": "400", "NO_COLOR": "1"},
        timeout=300,
    )
    out, said = done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    assert done.returncode == code, out + said
    assert "Traceback" not in said
    assert "\x1b" not in out + said
    return out + said


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run with everything hostile, by the command line; one cell of it fails."""
    root = tmp_path_factory.mktemp("hostile")
    salprobe("run", folder_recipe(root / "data"), "--out", root / "out", code=1)
    return root / "out" / "hostile"


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


@pytest.mark.slow
def test_tables_and_files_carry_names_that_can_be_read(finished: Path) -> None:
    cells = read_cells(finished)
    assert sorted(cells.probe) == sorted(["ridge", "centre", SCRIPT, "broken"])
    assert BROKEN in cells.set_index("probe").error["broken"]
    index = json.loads((finished / "stimuli" / "index.json").read_text())
    assert {entry["file"] for entry in index.values()} <= set(READABLE)
    for file in finished.rglob("*.json"):
        assert all(text.encode() is not None for text in texts(json.loads(file.read_text())))


@pytest.mark.slow
def test_mlflow_has_every_cell_and_no_name_of_a_file_in_its_paths(finished: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{(finished.parent / 'mlflow.db').as_posix()}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(experiments)
    assert sorted(run.data.tags["probe"] for run in found) == sorted(["ridge", "centre", SCRIPT, "broken"])
    artifacts = [file.relative_to(finished.parent) for file in (finished.parent / "mlartifacts").rglob("*")]
    assert artifacts
    assert all(re.fullmatch(r"[A-Za-z0-9_+./-]+", str(path)) for path in artifacts)


@pytest.mark.slow
def test_the_report_is_text_wherever_names_are(finished: Path, tmp_path: Path) -> None:
    """And opens in a browser without running anything: tests/browser."""
    salprobe("report", finished, "--out", tmp_path)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1
    assert not [(e.tag, name) for e in page.elements for name in e.attributes if name.lower().startswith("on")]
    assert all(e.attributes["src"].startswith("data:image/") for e in page.all("img"))
    whole = " ".join(element.text for element in page.all("body"))
    for words in (SCRIPT, BROKEN):
        assert words in whole
    assert any(name in whole for name in READABLE)
    for svg in (tmp_path / "figures").glob("*.svg"):
        assert "<script" not in svg.read_text()


@pytest.mark.slow
def test_maps_of_such_images_are_predicted_exported_and_scored(finished: Path, tmp_path: Path) -> None:
    names = pictures(tmp_path / "in")
    asked = ("predict", tmp_path / "in", "--readout", finished, "--cell", "ridge", "--device", "cpu")
    said = salprobe(*asked, "--out", tmp_path / "out")
    assert "4 images" in said
    made = {os.fsencode(file.name) for file in (tmp_path / "out").iterdir()}
    stems = {os.fsencode(Path(name).stem) for name in names if len(os.fsencode(name)) < 200}
    assert {stem + ending for stem in stems for ending in (b".npy", b".png", b"_overlay.jpg")} <= made
    (long,) = (name for name in made if name.startswith(b"lll") and name.endswith(b".npy"))
    assert len(made) == 12
    assert len(long) <= 204
    asked = ("export", finished, "--cell", "ridge", "--format", "npz")
    said = salprobe(*asked, "--out", tmp_path / "no", code=2)
    assert "the run used the plugin file" in said
    assert "a program: if you trust it, add --plugin" in said
    assert not (tmp_path / "no").exists()
    plugin = finished.parent.parent / "data" / "mine.py"
    salprobe(*asked, "--out", tmp_path / "maps", "--plugin", plugin)
    root = finished.parent.parent / "data"
    dataset = Folder(root=str(root), split=Splitting(test=2)).read("test")
    assert not find_maps(tmp_path / "maps", dataset).unused


def test_a_salicon_file_may_name_them(tmp_path: Path) -> None:
    names = list(map(os.fsdecode, NAMES))
    document = {
        "images": [image(n, file_name=name) for n, name in enumerate(names, 1)],
        "annotations": [annotation(n, n, [[1, 1]]) for n in range(1, len(names) + 1)],
    }
    write_root(tmp_path, document)
    dataset = Salicon(root=str(tmp_path), edition="custom", points="eye").read("train")
    assert [file.name for file in dataset.files] == names
    (tmp_path / "images" / names[1]).unlink()
    dataset = Salicon(root=str(tmp_path), edition="custom", points="eye", on_bad="skip").read("train")
    assert READABLE[1] in shown(dataset.skipped[0].reason)


def test_a_table_may_name_them_and_its_rows_are_theirs(tmp_path: Path) -> None:
    folder_recipe(tmp_path / "data")
    dataset = Folder(root=str(tmp_path / "data")).read("train")
    assert {os.fsencode(file.name) for file in dataset.files} <= set(NAMES)
    table = pd.read_csv(tmp_path / "data" / "gaze.csv", encoding="latin-1")
    assert np.diff(dataset.offset).sum() <= len(table)
