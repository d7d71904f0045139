"""The passes of a classroom as snapshots, so that a run which was stopped in any of them goes on from there.

Of every pass that is over, what was summed in it is kept as it was before `end_pass`; going on means to restore it and
to call `end_pass` again, pass by pass, and to restore the pass that was under way up to its last image.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from torch import Tensor

from harness import distributed, interrupt
from harness._probe import Consumer
from harness.data.dataset import Skipped
from harness.types import Batch

if TYPE_CHECKING:
    from harness.snapshots import Snapshots
    from harness.stream import Stream
    from harness.training import Classroom

END, ANYWHERE = "end", "any"
_NAME = re.compile(r"pass-(\d+)-(end|any|\d+)")


class TrainingState:
    """Watches a classroom; `snapshots` None: nothing is kept."""

    def __init__(self, room: Classroom, snapshots: Snapshots | None) -> None:
        self.room, self.snapshots = room, snapshots
        self.turn = -1
        """The last image of the pass under way that this process has seen."""
        self._lost: set[str] = set()
        """Cells made of something that has no state: they begin anew when the others go on."""

    def restore(self) -> bool:
        """Go on from what all processes have; whether there was anything. Raises whatever a damaged snapshot does."""
        if self.snapshots is None:
            return False
        names = self.snapshots.common()
        while (end := _name(self.room.passes, END)) in names:
            self._load(self.snapshots.read(end))
            self.room.end_pass()
        rest = [name for name in names if _number(name) == self.room.passes]
        if rest:
            content = self.snapshots.read(max(rest, key=_place))
            self._load(content)
            self.turn = content["turn"]
        return bool(names)

    def batches(self, stream_batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, with a snapshot between two of them where one is due."""
        shared = self.room.in_step()
        meet = bool(shared) and distributed.size() > 1
        ends = [end for end in self._ends() if end > self.turn + 1] if meet else []
        with closing(stream_batches):  # type: ignore[type-var]
            for batch in stream_batches:
                while ends and batch.turns[0] >= ends[0]:
                    self._meet(ends.pop(0), shared)
                yield batch
                self.turn = batch.turns[-1]
                if self.snapshots is not None and not meet:
                    self.snapshots.keep_between(_name(self.room.passes, ANYWHERE), self.content)
                elif not meet:
                    interrupt.check()
        for end in ends:
            self._meet(end, shared)

    def before_adding_up(self) -> None:
        """This process' part of a pass is there, the others' may take a while."""
        if self.snapshots is not None and distributed.size() > 1 and self.snapshots.due:
            self.snapshots.write(_name(self.room.passes, ANYWHERE), self.content())

    def pass_over(self) -> None:
        """All processes have the sums of the whole pass; keep them in the place of its parts."""
        if self.snapshots is not None:
            self._keep_in_place_of_parts(END)
        self.turn = -1

    def content(self) -> dict[str, Any]:
        """Everything that is being fed, and what is known of cells that failed."""
        room = self.room
        states = {name: found for name, one in room.fed() if (found := _state_of(one)) is not None}
        self._lost |= {student.key for student in room.students if not room.needs(student) <= states.keys()}
        return {
            "turn": self.turn,
            "cells": [student.key for student in room.students if student.key not in self._lost],
            "states": states,
            "errors": {student.key: student.error for student in room.students if student.error is not None},
            "seconds": {name: dict(watch.seconds) for name, watch in room.watches()},
            "stream": stream_state(room.stream),
        }

    def _load(self, content: Mapping[str, Any]) -> None:
        room = self.room
        for student in room.students:
            student.error = content["errors"].get(student.key, student.error)
        for name, one in room.fed():
            _restore(one, content["states"][name])
        for name, watch in room.watches():
            watch.seconds.update(content["seconds"].get(name, {}))
        restore_stream(room.stream, content["stream"])

    def _ends(self) -> list[int]:
        """Where all processes meet: at the ends of blocks, but for the last, which ends the pass."""
        return self.room.stream.block_ends(self.room.passes)[:-1]

    def _meet(self, end: int, shared: list[Consumer]) -> None:
        """With several processes, and work that steps in all of them together."""
        for one in shared:
            one.settle(end)
        self.turn = end - 1
        due = self.snapshots is not None and self.snapshots.due
        stop, due = distributed.anybody(interrupt.requested(), due)
        if self.snapshots is not None and (stop or due):
            self._keep_in_place_of_parts(str(end))
        if stop:
            distributed.gather(None)  # nobody leaves before all have kept theirs
            interrupt.stop()

    def _keep_in_place_of_parts(self, place: str) -> None:
        assert self.snapshots is not None
        kept, own = _name(self.room.passes, place), self.snapshots.names()
        earlier = [name for name in own if _number(name) == self.room.passes and name != kept]
        self.snapshots.write_instead(kept, self.content(), earlier)


def stream_state(stream: Stream) -> dict[str, Any]:
    """How long a stream has worked, what it left out, how it cut its batches."""
    return {
        "seconds": dict(stream.watch.seconds),
        "skipped": [(row, bad.id, bad.file, bad.reason) for row, bad in stream.skipped.items()],
        "at_once": stream.at_once,
    }


def restore_stream(stream: Stream, state: Mapping[str, Any]) -> None:
    """The inverse."""
    stream.watch.seconds.update(state["seconds"])
    stream.skipped |= {row: Skipped(*bad) for row, *bad in state["skipped"]}
    stream.at_once = state["at_once"]


def cells_in(snapshots: Snapshots) -> list[str]:
    """The cells that could go on from there, in their order; none where all processes together have nothing."""
    names = training_names(snapshots.common())
    if not names:
        return []
    latest = max(names, key=lambda name: (_number(name) or 0, _place(name)))
    return list(snapshots.read(latest)["cells"])


def training_names(names: set[str]) -> set[str]:
    """Those that are snapshots of passes."""
    return {name for name in names if _NAME.fullmatch(name)}


def _name(number: int, place: str) -> str:
    return f"pass-{number}-{place}"


def _number(name: str) -> int | None:
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def _place(name: str) -> float:
    """How far into its pass."""
    place = name.rpartition("-")[2]
    return float("inf") if place == END else -1 if place == ANYWHERE else int(place)


def _state_of(one: Consumer) -> dict[str, Any] | None:
    """None for a consumer that cannot tell: its cells begin anew."""
    try:
        state = one.state()
        if state is not None:
            return {"state": state}
        return {"sums": [{key: _own(x) for key, x in mapping.items()} for mapping in one.sums()]}
    except Exception:
        return None


def _restore(one: Consumer, saved: Mapping[str, Any]) -> None:
    if "state" in saved:
        one.restore(saved["state"])
        return
    for mapping, values in zip(one.sums(), saved["sums"], strict=True):
        for key, value in values.items():
            there = mapping.get(key)
            if there is not None and there.shape == value.shape:
                there.copy_(value)
            else:
                mapping[key] = value


def _own(x: Tensor) -> Tensor:
    """Without the rest of the memory that it may be a view of: all of that would be written."""
    return x if x.untyped_storage().nbytes() <= x.nbytes else x.clone()


def shared_name(key: Hashable) -> str:
    """A shared consumer among the states."""
    return f"shared {key!r}"
