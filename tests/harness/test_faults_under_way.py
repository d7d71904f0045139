"""What goes wrong while a run is under way: files that go, workers that are killed, a device without room."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from harness.data.dataset import Dataset
from harness.extraction import Extractor
from harness.results import read_cells, read_per_image
from tests.harness.commanding import SMALL, Command, salprobe
from tests.harness.interrupted import write_recipe
from tests.harness.test_stream import dataset, make

__all__ = ["dataset", "salprobe"]

CARELESS = """
import torch
from pathlib import Path
from harness import LinearReadout, Probe, Trainer, probe

@probe("careless")
class Careless(Probe):
    file: str

    def trainer(self, context):
        return CarelessTrainer(self.file)

class CarelessTrainer(Trainer):
    def __init__(self, file):
        self.file = Path(file)

    def update(self, batch):
        self.file.unlink(missing_ok=True)

    def sums(self):
        return ()

    def readout(self):
        return LinearReadout({"1": torch.ones(8)}, 0.0)
"""
"""Deletes a file in the middle of a pass."""


@pytest.fixture
def careless(tmp_path: Path) -> tuple[str, Path]:
    """A recipe of which one cell deletes the last held-out image while it is trained, and that image."""
    from harness.data.demo import Demo

    demo = Demo(train=6, test=4, height=96, width=128)
    parts = [demo.read("train"), demo.read("test")]
    (tmp_path / "images").mkdir()
    for file in (file for part in parts for file in part.files):
        (tmp_path / "images" / file.name).write_bytes(file.read_bytes())
    for file in parts[0].files[0].parent.parent.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    victim = tmp_path / "images" / parts[1].files[-1].name
    (tmp_path / "careless.py").write_text(CARELESS)
    recipe = write_recipe(
        tmp_path,
        **SMALL,
        plugins=["plugin.py", "careless.py"],
        dataset={"reader": "salicon", "root": str(tmp_path), "edition": "custom", "points": "fixations"},
        probes=["uniform", "ridge", {"name": "careless", "file": str(victim)}],
    )
    return recipe, victim


def test_an_image_that_is_deleted_under_way(careless: tuple[str, Path], tmp_path: Path, salprobe: Command) -> None:
    """Exit code 3; when it is back the same command goes on from what was trained."""
    recipe, victim = careless
    content = victim.read_bytes()
    said = salprobe("run", recipe, "--out", tmp_path, "--no-track")
    assert said.code == 3
    assert f"error: {victim}: image" in said.text
    assert "cannot be read: No such file or directory" in said.text
    assert list(read_cells(tmp_path / "stopped").probe) == ["uniform"]
    victim.write_bytes(content)
    said = salprobe("run", recipe, "--out", tmp_path, "--no-track")
    assert said.code == 0, said.text
    assert "going on with 2 cells that an earlier run had begun" in said.text
    assert len(read_per_image(tmp_path / "stopped")) == 3 * 4


def test_an_image_that_is_deleted_under_way_may_be_left_out(
    careless: tuple[str, Path], tmp_path: Path, salprobe: Command
) -> None:
    recipe, victim = careless
    said = salprobe(
        "run", recipe, "--out", tmp_path, "--no-track", "--set", "dataset.on_bad=skip", "--set", "pictures=1"
    )
    assert said.code == 0, said.text
    assert f"({victim}):" in said.text
    assert "cannot be read: No such file or directory" in said.text
    cells = read_cells(tmp_path / "stopped").set_index("probe").rename({f"careless[file={victim}]": "careless"})
    assert cells.n_images.to_dict() == {"uniform": 4, "ridge": 3, "careless": 3}
    assert set(cells.status) == {"finished"}
    assert "1 image of the test split left out: 10: " in cells.warnings["ridge"]
    assert "No such file or directory" in cells.warnings["careless"]


HASTY = """
from harness import Probe, Trainer, probe

@probe("hasty")
class Hasty(Probe):
    n: int

    def trainer(self, context):
        return HastyTrainer()

class HastyTrainer(Trainer):
    def update(self, batch):
        raise ValueError("too soon")

    def readout(self):
        return None
"""


def test_a_cell_that_fails_is_told_at_once(tmp_path: Path, salprobe: Command) -> None:
    """Not after the passes that its neighbours need; of many that fail the first few."""
    (tmp_path / "hasty.py").write_text(HASTY)
    probes = ["ridge", {"name": "hasty", "n": list(range(7))}]
    recipe = write_recipe(tmp_path, **SMALL, plugins=["plugin.py", "hasty.py"], probes=probes)
    said = salprobe("run", recipe, "--out", tmp_path, "--no-track")
    assert said.code == 1
    before = said.text.partition(" solving: ")[0]
    assert before.count("failed: own_net/random · 1 · hasty") == 5
    assert "hasty[n=4]: ValueError: too soon (hasty.py, line 13)" in before
    assert list(read_cells(tmp_path / "stopped").status).count("failed") == 7


def test_a_device_without_room_for_one_image(
    tmp_path: Path, salprobe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 8; cells without a network are there."""

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory (as a test says)")

    monkeypatch.setattr(Extractor, "features", full)
    recipe = write_recipe(tmp_path, **SMALL, probes=["uniform", "ridge"])
    said = salprobe("run", recipe, "--out", tmp_path, "--no-track")
    assert said.code == 8
    assert "lower input.scale, or use another device" in said.text
    assert read_cells(tmp_path / "stopped").status.tolist() == ["finished"]


@pytest.mark.slow
def test_a_decoding_worker_that_is_killed(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    """The pass goes on in this process with the same batches, and nothing is raised in the middle of other work."""
    expected = [(batch.ids, batch.features["layer3"]) for batch in make(dataset, batch_size=1).batches(0)]
    before = signal.getsignal(signal.SIGCHLD)
    found = []
    with caplog.at_level(logging.WARNING):
        for batch in make(dataset, batch_size=1, workers=1).batches(0):
            found.append((batch.ids, batch.features["layer3"]))
            if len(found) == 1:
                (worker,) = multiprocessing.active_children()
                assert worker.pid is not None
                os.kill(worker.pid, signal.SIGKILL)
                time.sleep(0.3)
    assert signal.getsignal(signal.SIGCHLD) == before
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    for (_, ours), (_, theirs) in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert "a process that decodes images has ended" in caplog.text
