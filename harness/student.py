"""A cell in training: its trainer, then its readout, or why it failed; what it took."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness import distributed
from harness.blame import in_words
from harness.time_limit import TimeLimit
from harness.timing import Stopwatch

if TYPE_CHECKING:
    from harness._probe import Trainer
    from harness.cells import Cell
    from harness.readout import Readout
    from harness.stream import Stream

log = logging.getLogger("salprobe")


@dataclass
class Student:
    """A cell in training."""

    key: str
    cell: Cell
    trainer: Trainer | None = None
    readout: Readout | None = None
    error: str | None = None
    shared: set[Hashable] = field(default_factory=set)
    watch: Stopwatch = field(default_factory=Stopwatch)
    limit: TimeLimit = field(default_factory=lambda: TimeLimit(None))

    @contextmanager
    def blamed(self, phase: str, stream: Stream) -> Iterator[None]:
        """Time a step of this cell; an exception, or too long a time, becomes the cell's error."""
        try:
            with self.watch(phase, stream.device), self.limit():
                yield
        except Exception as error:
            if distributed.is_loss_of_a_peer(error):
                raise  # the run's end, not this cell's
            self.fail(error)

    @contextmanager
    def waiting(self, stream: Stream) -> Iterator[None]:
        """The same for a step in which processes wait for each other: that does not count, and no one may leave it."""
        limit, self.limit = self.limit, TimeLimit(None)
        try:
            with self.blamed("fit", stream):
                yield
        finally:
            self.limit = limit

    def fail(self, error: Exception) -> None:
        """This cell has failed; the others go on."""
        self.error = in_words(error)
        log.debug("cell %s failed", self.cell.label, exc_info=error)
