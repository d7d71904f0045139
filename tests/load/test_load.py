"""Many cells, many rows, many runs at once: small here, `python -m tests.load.measure` takes them at full size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.results import read_cells, read_pairs
from harness.tracking.store import DATABASE, keep_quiet
from tests.load.many_rows import timed
from tests.load.matrices import soaking
from tests.load.measure import many_in_one
from tests.soak import FLAT, growth


@pytest.mark.slow
def test_many_cells_are_one_table_and_one_page(tmp_path: Path) -> None:
    cells = 40
    found = many_in_one(tmp_path, cells, track=False)
    folder = tmp_path / "many"
    assert set(read_cells(folder).status) == {"finished"}
    assert len(read_cells(folder)) == cells + 2
    assert len(read_pairs(folder)) == (cells + 2) * (cells + 1) / 2
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count('<tr data-key="') == cells + 2
    assert found["page, MiB"] < 20
    assert found["terminal lines"] < cells + 30  # a line a cell and a few notes, not a warning for each


@pytest.mark.slow
def test_many_rows_take_time_in_proportion(tmp_path: Path) -> None:
    few, many = (timed(tmp_path / str(n) / "many", n, 40, report=False) for n in (30, 90))
    assert many["pairs"] < 40 * max(few["pairs"], 0.1)  # 9.2 times the pairs, each with 9.2 times the flips at most
    assert many["intervals, shares"] < 6 * max(few["intervals, shares"], 0.1)


@pytest.mark.slow
def test_three_matrices_at_once_write_one_new_store(tmp_path: Path) -> None:
    """Nobody made the store before; all three create its schema and the experiment, or wait for it."""
    keep_quiet()
    names = ["one", "two", "three"]
    environment = dict(os.environ)
    environment.pop("MLFLOW_TRACKING_URI", None)
    started = []
    for seed, name in enumerate(names):
        recipe = {**soaking(), "name": name, "seed": seed, "pictures": 0}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        command = [
            sys.executable,
            "-m",
            "harness",
            "run",
            str(tmp_path / f"{name}.yaml"),
            "--out",
            str(tmp_path / "out"),
        ]
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
    for process in started:
        _, said = process.communicate(timeout=600)
        assert process.returncode == 0, said
        assert "locked" not in said

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'out' / DATABASE}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "salience-probe"]
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'cell'", max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for name in names:
        logged = sorted(run.data.tags["cell_key"] for run in runs if run.data.tags["recipe"] == name)
        assert logged == sorted(read_cells(tmp_path / "out" / name).cell_key)


def test_the_verdict_of_a_soak() -> None:
    def curve(step: float) -> list[tuple[int, float, float, float]]:
        return [(i, 1.0 * i, 500.0 + min(i, 20) * 10 + step * i, 0.0) for i in range(100)]

    assert abs(growth(curve(0))) <= FLAT
    assert growth(curve(0.5)) > FLAT
