"""One set of passes over the training images feeds every trainer of a group; a failing cell fails alone."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from harness import distributed, interrupt
from harness._probe import Consumer, Context
from harness.callable_readout import as_readout
from harness.errors import PluginError
from harness.ground_truth import Pool
from harness.stream import Stream
from harness.student import Student
from harness.time_limit import TimeLimit
from harness.timing import Stopwatch
from harness.training_state import TrainingState, shared_name

if TYPE_CHECKING:
    from harness.cells import Cell
    from harness.progress import Progress

log = logging.getLogger("salprobe")
TOLD = 5
"""Cells that are named as soon as they have failed."""


class Classroom:
    """All trainers of a group and the work they share."""

    def __init__(
        self,
        cells: Mapping[str, Cell],
        stream: Stream,
        *,
        limit_s: float | None = None,
        seeds: Mapping[str, int] | None = None,
    ) -> None:
        """`seeds`: by key, what a cell's random numbers are drawn from; else 0."""
        self.stream, self.limit_s, self._seeds = stream, limit_s, seeds or {}
        self.shared: dict[Hashable, Consumer] = {}
        self.shared_watch: defaultdict[Hashable, Stopwatch] = defaultdict(Stopwatch)
        self.passes = 0
        self.shared_limit: defaultdict[Hashable, TimeLimit] = defaultdict(lambda: TimeLimit(self.limit_s))
        self.students = [Student(key, cell, limit=TimeLimit(limit_s)) for key, cell in cells.items()]
        for student in self.students:
            with student.blamed("fit", stream):
                student.trainer = student.cell.probe.trainer(self._context(student))
        self._waiting = [student.key for student in self.students if student.cell.probe.passes() > 0]
        self._shared_fed = list(self.shared)
        self._told: set[str] = set()

    def expected_bytes(self) -> int:
        """Memory that trainers and shared work will hold while they are fed."""
        trainers = [student.trainer for student in self.students if student.trainer is not None]
        return sum(_promised(consumer.expected_bytes) for consumer in (*self.shared.values(), *trainers))

    def solving_bytes(self) -> int:
        """Memory that the largest solve will take: cells are solved one after the other."""
        trainers = [student.trainer for student in self.students if student.trainer is not None]
        return max((_promised(trainer.solving_bytes) for trainer in trainers), default=0)

    def teach(self, progress: Progress, state: TrainingState | None = None) -> list[Student]:
        """Run as many passes as are asked for, then collect every readout; a restored `state` is gone on from."""
        state = state or TrainingState(self, None)
        self._agree()
        self._tell_failed(progress)
        while self._learning() or self._shared_fed:
            self._pass(progress, state)
            state.before_adding_up()
            self._add_up()
            state.pass_over()
            self.end_pass()
            self._agree()
        self._collect(progress)
        self._tell_failed(progress)
        return self.students

    def _tell_failed(self, progress: Progress) -> None:
        """A word at once on each of the first cells that fail: who waits for long passes may want to mend them."""
        new = [s for s in self.students if s.error is not None and s.key not in self._told]
        for student in new[: TOLD - len(self._told)]:
            self._told.add(student.key)
            progress.say(f"failed: {student.cell.label}: {student.error}")

    def end_pass(self) -> None:
        """Ask everybody who was fed whether there is to be another pass."""
        again: list[str] = []
        for student in self._learning():
            assert student.trainer is not None
            with student.blamed("fit", self.stream):
                if student.trainer.end_pass():
                    again.append(student.key)
        shared_again: list[Hashable] = []
        for key in self._shared_fed:
            with self._blaming_users(key):
                if self._users(key) and self.shared[key].end_pass():
                    shared_again.append(key)
        self._waiting, self._shared_fed = again, shared_again
        self.passes += 1

    def fed(self) -> Iterator[tuple[str, Consumer]]:
        """Everything that gets the batches of the present pass, by name."""
        yield from ((shared_name(key), self.shared[key]) for key in self._shared_fed)
        yield from ((f"cell {s.key}", s.trainer) for s in self._learning() if s.trainer is not None)

    def needs(self, student: Student) -> set[str]:
        """The names of what it is made of, as far as that is fed in the present pass."""
        own = {f"cell {student.key}", *map(shared_name, student.shared)}
        return own & {name for name, _ in self.fed()}

    def watches(self) -> Iterator[tuple[str, Stopwatch]]:
        """What the work has taken so far, by name."""
        yield from ((shared_name(key), self.shared_watch[key]) for key in self.shared)
        yield from ((f"cell {student.key}", student.watch) for student in self.students)

    def in_step(self) -> list[Consumer]:
        """What talks to the other processes while it is fed in the present pass."""
        return [self.shared[key] for key in self._shared_fed if self.shared[key].in_step and self._users(key)]

    def _pass(self, progress: Progress, state: TrainingState) -> None:
        if self.passes:
            self.stream.refill(progress)
        name = "training" if self.passes == 0 else f"training, pass {self.passes + 1}"
        left = self.stream.n_mine - self.stream.n_until(self.passes, state.turn)
        with progress.phase(name, left) as bar, interrupt.deferred():
            for batch in state.batches(self.stream.batches(epoch=self.passes, after=state.turn)):
                for key in self._shared_fed:
                    if self._users(key):
                        with self._blaming_users(key):
                            self.shared[key].update(batch)
                for student in self._learning():
                    assert student.trainer is not None
                    with student.blamed("fit", self.stream):
                        student.trainer.update(batch)
                self._tell_failed(progress)
                bar.advance(len(batch))

    def _learning(self) -> list[Student]:
        return [student for student in self.students if student.key in self._waiting and student.error is None]

    def _add_up(self) -> None:
        """What the processes summed over their own images becomes the sum over all; a cell failed by one has failed."""
        if distributed.size() == 1:
            return
        # first those for which others may be waiting in the middle of their pass
        collective = [key for key in self._shared_fed if self.shared[key].collective]
        for key in collective:
            distributed.add_up_mappings(_sums(self.shared[key]), self.stream.device)
        # each its own, in its own time; nobody waits for what failed in another process
        shared, own = {}, {}
        for key in self._shared_fed:
            if key not in collective:
                with self._blaming_users(key):
                    shared[key] = _sums(self.shared[key])
        for student in self._learning():
            assert student.trainer is not None
            with student.blamed("fit", self.stream):
                own[student.key] = _sums(student.trainer)
        self._agree()
        for key in self._shared_fed:
            if key not in collective:
                with self._blaming_users(key, waiting=True):
                    distributed.add_up_mappings(shared[key], self.stream.device)
        for student in self._learning():
            with student.waiting(self.stream):
                distributed.add_up_mappings(own[student.key], self.stream.device)

    def _agree(self) -> None:
        """A cell that has failed in one process has failed in all."""
        if distributed.size() == 1:
            return
        errors = {student.key: student.error for student in self.students if student.error is not None}
        distributed.agree(errors)
        for student in self.students:
            student.error = errors.get(student.key)
        self._shared_fed = [key for key in self._shared_fed if self._users(key)]

    def _collect(self, progress: Progress) -> None:
        """Every readout; of several processes each solves some of the cells and hands them to the others."""
        living = [student for student in self.students if student.error is None]
        mine = living[distributed.rank() :: distributed.size()]
        with progress.phase("solving", len(mine), unit="cells") as bar:
            for student in mine:
                assert student.trainer is not None
                with student.blamed("solve", self.stream):
                    student.readout = as_readout(student.trainer.readout()).to(self.stream.device)
                bar.advance(1)
        for student in living:
            self._share_time(student)
            student.trainer = None
        if distributed.size() > 1:
            self._exchange(living)

    def _exchange(self, living: Sequence[Student]) -> None:
        cpu = torch.device("cpu")
        solved = [(s.readout.to(cpu) if s.readout else None, s.error, s.watch.seconds["solve"]) for s in living]
        everybody = distributed.gather(solved)
        for index, student in enumerate(living):
            readout, student.error, student.watch.seconds["solve"] = everybody[index % distributed.size()][index]
            student.readout = readout.to(self.stream.device) if readout is not None else None

    def _share_time(self, student: Student) -> None:
        for key in student.shared:
            users = sum(key in other.shared for other in self.students)
            student.watch.seconds["fit"] += self.shared_watch[key].seconds["fit"] / users

    @cached_property
    def _prior(self) -> torch.Tensor:
        return Pool(self.stream.dataset, self.stream.device).centre_prior()

    def _users(self, key: Hashable) -> list[Student]:
        return [student for student in self.students if key in student.shared and student.error is None]

    @contextmanager
    def _blaming_users(self, key: Hashable, *, waiting: bool = False) -> Iterator[None]:
        """Shared work has as much time as any of its users; while it is `waiting` for other processes that is free."""
        collective = waiting or (self.shared[key].collective and distributed.size() > 1)
        limit = TimeLimit(None) if collective else self.shared_limit[key]
        try:
            with self.shared_watch[key]("fit", self.stream.device), limit():
                yield
        except Exception as error:
            if collective or distributed.is_loss_of_a_peer(error):
                raise  # the others wait for this one's part: only the end of the run can tell them
            for student in self._users(key):
                student.fail(error)

    def _context(self, student: Student) -> Context:
        return Context(
            layers=student.cell.layers,
            n_images=len(self.stream.dataset),
            n_folds=self.stream.settings.folds,
            seed=self._seeds.get(student.key, 0),
            device=self.stream.device,
            _shared=self.shared,
            _uses=student.shared.add,
            centre_prior=lambda: self._prior,
        )


def _promised(bytes_of: Callable[[], int]) -> int:
    """What a plugin says it needs; one that cannot say costs the estimate, not the run."""
    try:
        return bytes_of()
    except Exception:
        log.warning("%s failed: the estimate of memory lacks it", bytes_of, exc_info=True)
        return 0


def _sums(consumer: Consumer) -> Sequence[MutableMapping[Any, torch.Tensor]]:
    """What a consumer has summed over images; raises PluginError for one that does not say it."""
    try:
        return consumer.sums()
    except NotImplementedError:
        raise PluginError(
            f"{type(consumer).__name__} cannot be trained by several processes: it has no sums(); "
            "run it with one process, or let it return the tensors that it sums over images"
        ) from None
