"""A cell that hangs fails as a row, the others finish; wherever in its life it hangs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from harness._probe import Consumer, Context, Probe, Trainer, probe
from harness.errors import CellTimeoutError
from harness.readout import LinearReadout, Readout
from harness.results import read_cells, read_per_image
from harness.time_limit import TimeLimit
from harness.types import Batch
from tests.harness.test_run import go
from tests.plugins import forgotten

WORDS = "took longer than 0.8 s (cell_timeout_s)"
PLACES = ("trainer", "update", "end_pass", "readout", "predict", "shared", "swallowing")


def hang() -> None:
    while True:
        time.sleep(0.01)


def swallow() -> None:
    """As a plugin does that tries again whatever goes wrong."""
    while True:
        try:
            time.sleep(0.01)
        except Exception:  # noqa: S112
            continue


class Shared(Consumer):
    def update(self, batch: Batch) -> None:
        hang()

    def sums(self) -> tuple[()]:
        return ()


class Hanging(Trainer):
    def __init__(self, where: str) -> None:
        self.where = where

    def update(self, batch: Batch) -> None:
        if self.where == "update":
            hang()
        if self.where == "swallowing":
            swallow()

    def end_pass(self) -> bool:
        if self.where == "end_pass":
            hang()
        return False

    def readout(self) -> Readout | Callable[[Batch], torch.Tensor]:
        if self.where == "readout":
            hang()
        return forever if self.where == "predict" else LinearReadout({"layer1": torch.ones(256)}, 0.0)


def forever(batch: Batch) -> torch.Tensor:
    hang()
    return torch.zeros(())


@pytest.fixture(autouse=True)
def _probes() -> Iterator[None]:
    with forgotten():

        @probe("hanging")
        class HangingProbe(Probe):
            where: str = "nowhere"

            @property
            def label(self) -> str:
                return f"hanging-{self.where}"

            def trainer(self, context: Context) -> Trainer:
                if self.where == "trainer":
                    hang()
                if self.where == "shared":
                    context.shared("hanging", Shared)
                return Hanging(self.where)

        yield


def test_a_cell_that_hangs_fails_alone(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    outcome, witness = go(
        tmp_path,
        probes=["uniform", {"name": "hanging", "where": [*PLACES, "nowhere"]}],
        layers=["layer1"],
        pictures=0,
        cell_timeout_s=0.8,
        metrics=["nss", "ig"],
    )
    cells = read_cells(outcome.folder).set_index("probe")
    assert cells.error[[f"hanging-{place}" for place in PLACES]].tolist() == [WORDS] * len(PLACES)
    assert outcome.counts == {"finished": 2, "failed": len(PLACES)}
    assert set(read_per_image(outcome.folder).cell_key) == set(cells.cell_key[["uniform", "hanging-nowhere"]])
    assert witness.told[-1] == "ended failed"
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_calls_add_up_and_what_is_done_in_time_is_left_alone() -> None:
    limit = TimeLimit(1.0)
    for _ in range(3):
        with limit():
            time.sleep(0.2)
    start = time.monotonic()
    with pytest.raises(CellTimeoutError, match="took longer than 1 s"), limit():
        hang()
    assert time.monotonic() - start < 0.9
    with TimeLimit(None)():
        time.sleep(0.01)
    with pytest.raises(ValueError, match="its own"), TimeLimit(60)():
        raise ValueError("its own")


def test_outside_the_main_thread_it_is_found_out_afterwards() -> None:
    found: list[object] = []

    def work() -> None:
        try:
            with TimeLimit(0.05)():
                time.sleep(0.1)
                found.append("done")
        except CellTimeoutError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0] == "done"
    assert isinstance(found[1], CellTimeoutError)


def test_an_alarm_at_any_moment_is_told_by_its_own_error_only() -> None:
    """Also while the block is about to begin, or to be over."""
    rung = 0
    for turn in range(400):
        limit = TimeLimit(0.001 + turn * 2e-6)
        end = time.monotonic() + 0.00125
        try:
            with limit():
                while time.monotonic() < end:
                    pass
        except CellTimeoutError:
            rung += 1
    assert 0 < rung < 400
