"""What a machine does to a run: the message a user reads, the exit code, what is on disk, and that it can go on."""

from __future__ import annotations

import logging
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from harness.errors import TrackingError, UnwritableError
from harness.results import read_cells, read_per_image
from harness.snapshots import Snapshots
from harness.tracking import turns
from harness.tracking.store import DATABASE
from tests.harness.commanding import SMALL, Command, salprobe
from tests.harness.interrupted import assert_everything_opens, write_recipe
from tests.plugins import forgotten

__all__ = ["salprobe"]
LARGE_READOUT = {"name": "pooled", "solver": "ridge", "raster": [48, 64]}
"""110 kB of weights: of all files the largest."""
NEWEST = "the same command goes on from there"


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """What a write past the end of a disk looks like."""
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    from harness.plan import make_plan
    from harness.progress import Silent
    from harness.recipe import load_recipe
    from harness.run import run

    root = tmp_path_factory.mktemp("finished")
    with forgotten():
        recipe = load_recipe(write_recipe(root, **SMALL, probes=["ridge"]))
        return run(make_plan(recipe), root / "out", Silent()).folder


def test_a_full_disk_under_the_results(tmp_path: Path, salprobe: Command) -> None:
    """Exit code 7; what is finished stays, the same command goes on."""
    recipe, folder = write_recipe(tmp_path, **SMALL, probes=["uniform", "ridge", LARGE_READOUT]), tmp_path / "stopped"
    arguments = ("run", recipe, "--out", tmp_path, "--no-track")
    with no_file_larger_than(60_000):
        said = salprobe(*arguments)
    assert said.code == 7
    assert f"error: cannot write {folder}/cells/" in said.text
    assert "readout.safetensors: File too large; make room there, or choose another --out" in said.text
    assert NEWEST in said.text
    assert set(read_cells(folder).query("status == 'finished'").probe) == {"uniform"}
    assert_everything_opens(folder)
    assert not list(folder.rglob(".*"))
    said = salprobe(*arguments)
    assert said.code == 0, said.text
    assert "2 of 3" not in said.text
    assert "1 of 1 are finished and reused" in said.text
    assert (
        "own_net: 1 of 2 are finished and reused" in said.text or "1 cells that an earlier run had begun" in said.text
    )
    assert set(read_cells(folder).status) == {"finished"}


def test_a_full_disk_from_the_first_file_on(tmp_path: Path, salprobe: Command) -> None:
    recipe = write_recipe(tmp_path, **SMALL, probes=["ridge"])
    with no_file_larger_than(10):
        said = salprobe("run", recipe, "--out", tmp_path, "--no-track")
    assert said.code == 7
    assert f"cannot write {tmp_path}/stopped/recipe.yaml: File too large" in said.text


def test_a_full_disk_under_the_state(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It costs the snapshot, and is told once."""
    work = Snapshots(tmp_path, {"cells": ["a"]}, every_s=0)
    work.write("x", {"sums": torch.arange(3)})
    with no_file_larger_than(4_000), caplog.at_level(logging.WARNING):
        work.write("x", {"sums": torch.zeros(10_000)})
        work.write("x", {"sums": torch.zeros(10_000)})
    assert len(caplog.messages) == 1
    assert f"could not be saved in {work.folder} (is the disk full?): it goes on" in caplog.messages[0]
    assert work.read("x")["sums"].tolist() == [0, 1, 2]
    assert not list(work.folder.glob(".*"))


def test_a_full_disk_under_the_pictures(tmp_path: Path, salprobe: Command, caplog: pytest.LogCaptureFixture) -> None:
    """It costs the pictures: scores and readout are there."""
    recipe = write_recipe(tmp_path, **{**SMALL, "pictures": 1}, probes=["ridge"])
    with no_file_larger_than(60_000):
        said = salprobe("run", recipe, "--out", tmp_path, "--no-track")
    assert said.code == 0, said.text
    assert f"no pictures: cannot write {tmp_path}/stopped/" in caplog.text
    assert set(read_cells(tmp_path / "stopped").status) == {"finished"}
    assert not list((tmp_path / "stopped").rglob(".*"))


RIDGE = ("--cell", "ridge", "--plugin")


def plugin_of(finished: Path) -> Path:
    return finished.parent.parent / "plugin.py"


@pytest.mark.parametrize("format", ["npy", "npz", "salicon-json"])
def test_a_full_disk_under_an_export(finished: Path, tmp_path: Path, salprobe: Command, format: str) -> None:
    out = tmp_path / "maps"
    with no_file_larger_than(3_000):
        said = salprobe("export", finished, *RIDGE, plugin_of(finished), "--format", format, "--out", out)
    assert said.code == 7
    assert f"error: cannot write {out}/" in said.text
    assert "File too large; make room there, or choose another --out" in said.text
    assert list(out.iterdir()) == []


def test_a_full_disk_under_a_report(finished: Path, tmp_path: Path, salprobe: Command) -> None:
    with no_file_larger_than(100):
        said = salprobe("report", finished, "--out", tmp_path / "report")
    assert said.code == 7
    assert f"error: cannot write {tmp_path}/report/leaderboard.csv: File too large" in said.text
    assert list((tmp_path / "report").iterdir()) == []


@pytest.mark.parametrize("command", ["run", "report", "export"])
def test_a_folder_that_cannot_be_written(finished: Path, tmp_path: Path, salprobe: Command, command: str) -> None:
    """A file is where the folder should be, and a file system that takes nothing."""
    recipe = write_recipe(tmp_path, **SMALL, probes=["uniform"])
    own: dict[str, tuple[object, ...]] = {
        "run": (recipe, "--no-track"),
        "report": (finished,),
        "export": (finished, *RIDGE, plugin_of(finished)),
    }
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file" / "out", Path("/proc/nothing")):
        said = salprobe(command, *own[command], "--out", out)
        assert said.code == 7, said.text
        assert "cannot write" in said.text
        assert str(out) in said.text
        assert "choose another --out" in said.text
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_store_that_is_no_database(tmp_path: Path, salprobe: Command) -> None:
    """The run is whole, the file is left as it was, `track` says the same."""
    recipe, store = write_recipe(tmp_path, **SMALL, probes=["uniform"]), tmp_path / DATABASE
    store.write_text("this is no database\n" * 100)
    said = salprobe("run", recipe, "--out", tmp_path)
    assert said.code == TrackingError.exit_code
    assert "MLflow was not written" in said.text
    assert "file is not a database" in said.text
    assert "log them later: " in said.text
    assert set(read_cells(tmp_path / "stopped").status) == {"finished"}
    assert len(read_per_image(tmp_path / "stopped")) == 5
    said = salprobe("track", tmp_path / "stopped")
    assert said.code == TrackingError.exit_code
    assert f"sqlite:///{store} could not be written" in said.text
    assert store.read_text() == "this is no database\n" * 100


def test_a_store_in_the_hands_of_another_process(
    mlflow_store: Path, salprobe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that does not come to an end, and of a program that knows nothing of turns."""
    import fcntl

    monkeypatch.setattr(turns, "PATIENCE_S", 0.2)
    recipe = write_recipe(mlflow_store, **SMALL, probes=["uniform"])
    with (mlflow_store / f".{DATABASE}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = salprobe("run", recipe, "--out", mlflow_store)
    assert said.code == TrackingError.exit_code
    assert "has been in use by another process for more than 0.2 s" in said.text
    assert set(read_cells(mlflow_store / "stopped").status) == {"finished"}
    other = sqlite3.connect(mlflow_store / DATABASE)
    other.execute("BEGIN EXCLUSIVE")
    start = time.monotonic()
    said = salprobe("track", mlflow_store / "stopped")
    assert said.code == TrackingError.exit_code
    assert "database is locked" in said.text
    assert time.monotonic() - start < 60
    other.rollback()
    other.close()
    assert salprobe("track", mlflow_store / "stopped").code == 0


def test_what_cannot_be_written_survives_the_way_to_other_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(UnwritableError("cannot write x", 28, "No space left on device")))  # noqa: S301
    assert (str(error), error.errno, error.strerror) == ("cannot write x", 28, "No space left on device")
    assert error.exit_code == 7
