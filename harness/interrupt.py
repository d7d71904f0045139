"""Signals as a run takes them: the first one waits until the batch at hand is done, a second ends the process at once.

Where nothing must be finished first, the first one is raised where it arrives, as Python does.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_S = 1.0
"""A launcher of several processes passes a signal on that they got already: what comes so soon is the same one."""


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM, in the words of an exit code."""

    def __init__(self, number: int) -> None:
        self.name = signal.Signals(number).name
        super().__init__(self.name)
        self.exit_code = 128 + number


@dataclass
class _Now:
    number: int | None = None
    """The signal that has come."""
    at: float = 0.0
    deferring: int = 0
    owner: int = 0


_now = _Now()


@contextmanager
def handled(*, echoes: bool = False) -> Iterator[None]:
    """Take SIGINT and SIGTERM as above while inside; `echoes`: the same signal may arrive twice."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def take(number: int, frame: FrameType | None) -> None:
        if os.getpid() != _now.owner:  # a worker that was forked off: its parent decides
            return
        if _now.number is not None:
            if time.monotonic() - _now.at > ECHO_S:
                _end(number)
            return
        _now.number, _now.at = number, time.monotonic()
        if not echoes:  # at once, whatever the process is in the middle of
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if not _now.deferring:
            raise Interrupted(number)

    _now.number, _now.deferring, _now.owner = None, 0, os.getpid()
    for number in SIGNALS:
        signal.signal(number, take)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _now.number = None


@contextmanager
def deferred() -> Iterator[None]:
    """A signal that comes inside waits for `check`, or for the end."""
    _now.deferring += 1
    try:
        yield
    finally:
        _now.deferring -= 1
    check()


def stop() -> NoReturn:
    """Raise Interrupted, also where the signal came to another process of the run."""
    raise Interrupted(_now.number or signal.SIGTERM)


def requested() -> bool:
    """Whether a signal has come."""
    return _now.number is not None


def arrived() -> Interrupted | None:
    """The signal that has come, if any."""
    return Interrupted(_now.number) if _now.number is not None else None


def check() -> None:
    """Raise Interrupted where a signal has come."""
    if requested():
        stop()


def ignore() -> None:
    """What a worker process does: terminals and launchers send signals to everybody, the main process decides."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
