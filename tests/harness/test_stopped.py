"""Runs that are killed, interrupted and started again: nothing is lost, nothing half-done looks done."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import BusyError
from harness.tracking.store import DATABASE
from tests.harness.interrupted import assert_everything_opens, assert_same_results, write_recipe
from tests.harness.nursery import Nursery
from tests.harness.tracked import runs

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("SALPROBE_KILLS", "5"))
SEED = int(os.environ.get("SALPROBE_KILLS_SEED", "0"))
LONGEST = 0.5
"""Of the time that a run takes, until it is killed."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """In memory where the system has such a place: what a disk takes to flush is not what is tested."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as started:
        yield started


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, folder: Path) -> tuple[Path, float]:
    """The results of a run that nobody stopped, and its seconds."""
    recipe = write_recipe(folder)
    start = time.monotonic()
    child = nursery.start(["run", recipe, "--out", str(folder / "whole"), "--no-track"], folder / "whole.txt")
    assert child.wait() == [0], child.text()
    return folder / "whole" / "stopped", time.monotonic() - start


def test_killed_at_any_moment(
    nursery: Nursery, folder: Path, undisturbed: tuple[Path, float], migrated_store: Path
) -> None:
    """SIGKILL again and again, until a run comes through; in a new folder for as long as kills are left."""
    recipe, (expected, seconds), rng = write_recipe(folder), undisturbed, random.Random(SEED)
    kills = finished = 0
    while kills < KILLS:
        out = folder / f"killed{finished}"
        out.mkdir()
        shutil.copy(migrated_store, out / DATABASE)
        codes: list[int] = []
        while codes != [0]:
            child = nursery.start(["run", recipe, "--out", str(out)], out / "said.txt")
            if kills < KILLS:
                time.sleep(rng.uniform(0, LONGEST * seconds))
                child.kill()  # a zombie, if it has come through
            codes = child.wait()
            assert codes in ([0], [-signal.SIGKILL]), child.text()
            kills += codes != [0]
            assert_everything_opens(out / "stopped")
        finished += 1
        assert_same_results(out / "stopped", expected)
        assert {path.name for path in (out / "stopped").iterdir()} == {path.name for path in expected.iterdir()}
        logged = runs(out)
        cells = [run.data.tags["cell_key"] for run in logged if run.data.tags["kind"] == "cell"]
        assert sorted(cells) == sorted(path.name for path in (expected / "cells").iterdir())
        assert {run.info.status for run in logged} == {"FINISHED"}
    print(f"{kills} kills, {finished} runs came through")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_where_it_can_go_on(
    nursery: Nursery, folder: Path, undisturbed: tuple[Path, float], number: int, code: int
) -> None:
    recipe, out = write_recipe(folder), folder / f"signal{number}"
    arguments = ["run", recipe, "--out", str(out), "--no-track"]
    child = nursery.start(arguments, folder / f"signal{number}.txt")
    child.wait_for("training, pass 2")
    start = time.monotonic()
    child.kill(number)
    assert child.wait() == [code], child.text()
    assert time.monotonic() - start < 5
    assert f"stopped by {signal.Signals(number).name}; the same command goes on from here" in child.text()
    assert list((out / "stopped" / "state").glob("*/*.pt"))
    assert_everything_opens(out / "stopped")
    child = nursery.start(arguments, folder / f"signal{number}.again.txt")
    assert child.wait() == [0], child.text()
    assert "that an earlier run had begun" in child.text()
    assert_same_results(out / "stopped", undisturbed[0])


def test_a_second_interrupt_ends_it_at_once(nursery: Nursery, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a batch that takes a minute."""
    recipe, said = write_recipe(folder / "slow", backbones=[{"name": "napping"}]), folder / "second.txt"
    plugin = folder / "slow" / "plugin.py"
    plugin.write_text(plugin.read_text().replace('"own_net"', '"napping"').replace('"0")', '"60")'))
    child = nursery.start(["run", recipe, "--out", str(folder / "second"), "--no-track"], said)
    child.wait_for("feature cache 0 MiB on the host\ntraining: 10 images")
    time.sleep(0.5)
    child.kill(signal.SIGINT)
    time.sleep(0.3)
    start = time.monotonic()
    child.kill(signal.SIGINT)
    assert child.wait() == [-signal.SIGINT]  # what a shell calls 130
    assert time.monotonic() - start < 5
    assert_everything_opens(folder / "second")


def test_two_processes_stop_and_go_on_together(nursery: Nursery, folder: Path) -> None:
    """In the first pass, where each goes its own way, and in one in which they wait for each other at every step."""
    few = ["ridge", {"name": "sgd", "epochs": 2, "images_per_step": 3, "layers": ["1"]}, "centre"]
    recipe, out = write_recipe(folder / "pair", backbones=[{"name": "own_net"}], probes=few), folder / "two"
    arguments = ["run", recipe, "--out", str(out), "--no-track"]
    for turn, words in enumerate(("on the host\ntraining: 5 images", "training, pass 2")):
        child = nursery.start(arguments, folder / f"two{turn}.txt", processes=2, SALPROBE_TEST_NAP="0.3")
        child.wait_for(words)
        time.sleep(0.4)
        child.kill(signal.SIGTERM)
        assert child.wait() == [143, 143], child.text()
        names = sorted(path.name for path in (out / "stopped" / "state").glob("*/*.pt"))
        assert any("0-of-2" in name for name in names), child.text()
        assert any("1-of-2" in name for name in names), child.text()
    child = nursery.start(arguments, folder / "alone.txt")
    child.wait_for("processes was 2, is 1")
    child.kill()
    child.wait()
    for place in (out, folder / "two whole"):
        child = nursery.start([*arguments[:-2], str(place), "--no-track"], folder / "two.txt", processes=2)
        assert child.wait() == [0, 0], child.text()
    assert_same_results(out / "stopped", folder / "two whole" / "stopped")


def test_a_second_run_into_the_folder_is_refused(nursery: Nursery, folder: Path) -> None:
    """While the first goes on unharmed."""
    from harness.lock import locked

    recipe, out = write_recipe(folder), folder / "busy"
    with locked(out / "stopped"):
        child = nursery.start(["run", recipe, "--out", str(out), "--no-track"], folder / "busy.txt")
        assert child.wait() == [BusyError.exit_code]
    assert f"is in use by another run (process {os.getpid()} on" in child.text()
    assert "Traceback" not in child.text()
