"""One set of passes over the training images feeds every trainer of a group; a failing cell fails alone."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness._probe import Consumer, Context, Trainer
from harness.readout import Readout
from harness.stream import Stream
from harness.timing import Stopwatch

if TYPE_CHECKING:
    from harness.plan import Cell
    from harness.progress import Progress

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

    @contextmanager
    def blamed(self, phase: str, stream: Stream) -> Iterator[None]:
        """Time a step of this cell; an exception becomes the cell's error."""
        try:
            with self.watch(phase, stream.device):
                yield
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """This cell has failed; the others go on."""
        self.error = f"{type(error).__name__}: {error}"
        log.debug("cell %s failed", self.cell.label, exc_info=error)


class Classroom:
    """All trainers of a group and the work they share."""

    def __init__(self, cells: Mapping[str, Cell], stream: Stream) -> None:
        self.stream = stream
        self.shared: dict[Hashable, Consumer] = {}
        self.shared_watch: defaultdict[Hashable, Stopwatch] = defaultdict(Stopwatch)
        self.passes = 0
        self.students = [Student(key, cell) for key, cell in cells.items()]
        for student in self.students:
            with student.blamed("fit", stream):
                student.trainer = student.cell.probe.trainer(self._context(student))

    def expected_bytes(self) -> int:
        """Memory that trainers and shared work will hold at their peak."""
        trainers = [student.trainer for student in self.students if student.trainer is not None]
        return sum(consumer.expected_bytes() for consumer in (*self.shared.values(), *trainers))

    def teach(self, progress: Progress) -> list[Student]:
        """Run as many passes as are asked for, then collect every readout."""
        waiting = {student.key for student in self.students if student.cell.probe.passes() > 0}
        shared = set(self.shared)
        while self._learning(waiting) or shared:
            name = "training" if self.passes == 0 else f"training, pass {self.passes + 1}"
            with progress.phase(name, len(self.stream.dataset)) as bar:
                for batch in self.stream.batches(epoch=self.passes):
                    for key in list(shared):
                        with self._blaming_users(key):
                            self.shared[key].update(batch)
                    for student in self._learning(waiting):
                        assert student.trainer is not None
                        with student.blamed("fit", self.stream):
                            student.trainer.update(batch)
                    bar.advance(len(batch))
            self.passes += 1
            waiting, shared = self._end_pass(waiting, shared)
        self._collect(progress)
        return self.students

    def _learning(self, waiting: set[str]) -> list[Student]:
        return [student for student in self.students if student.key in waiting and student.error is None]

    def _end_pass(self, waiting: set[str], shared: set[Hashable]) -> tuple[set[str], set[Hashable]]:
        again: set[str] = set()
        for student in self._learning(waiting):
            assert student.trainer is not None
            with student.blamed("fit", self.stream):
                if student.trainer.end_pass():
                    again.add(student.key)
        shared_again: set[Hashable] = set()
        for key in shared:
            with self._blaming_users(key):
                if self._users(key) and self.shared[key].end_pass():
                    shared_again.add(key)
        return again, shared_again

    def _collect(self, progress: Progress) -> None:
        living = [student for student in self.students if student.error is None]
        with progress.phase("solving", len(living), unit="cells") as bar:
            for student in living:
                assert student.trainer is not None
                with student.blamed("solve", self.stream):
                    student.readout = student.trainer.readout()
                self._share_time(student)
                student.trainer = None
                bar.advance(1)

    def _share_time(self, student: Student) -> None:
        for key in student.shared:
            users = sum(key in other.shared for other in self.students)
            student.watch.seconds["fit"] += self.shared_watch[key].seconds["fit"] / users

    def _users(self, key: Hashable) -> list[Student]:
        return [student for student in self.students if key in student.shared and student.error is None]

    @contextmanager
    def _blaming_users(self, key: Hashable) -> Iterator[None]:
        try:
            with self.shared_watch[key]("fit", self.stream.device):
                yield
        except Exception as error:
            for student in self._users(key):
                student.fail(error)

    def _context(self, student: Student) -> Context:
        return Context(
            layers=student.cell.layers,
            n_images=len(self.stream.dataset),
            n_folds=self.stream.settings.folds,
            seed=int(student.key[:12], 16),
            device=self.stream.device,
            _shared=self.shared,
            _uses=student.shared.add,
        )
