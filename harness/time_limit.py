"""So many seconds for a cell's own work: what takes longer is interrupted where that can be, else found out afterwards.

Python is interrupted by a timer of the system, between two of its own steps: one call into compiled code (a product of
matrices, `time.sleep` apart) ends first. Outside the main thread, and on systems without such timers, nothing is
interrupted, and a call that never comes back is waited for.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.errors import CellTimeoutError

_AGAIN_S = 0.001
_OWN = (__file__, contextlib.__file__)
"""Code that is not interrupted: it is about to be over, or about to begin."""


class _RangError(BaseException):
    """Like an interrupt no Exception, so that a plugin which catches whatever goes wrong does not go on."""


class TimeLimit:
    """Adds up the seconds of what is done under it; `seconds` None: any number."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self.spent = seconds, 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Do something under the limit; raises CellTimeoutError."""
        if self.seconds is None:
            yield
            return
        start = time.monotonic()
        try:
            with _alarm(self.seconds - self.spent):
                yield
        except _RangError:
            raise self._error() from None
        finally:
            self.spent += time.monotonic() - start
        if self.spent > self.seconds:
            raise self._error()

    def _error(self) -> CellTimeoutError:
        return CellTimeoutError(f"took longer than {self.seconds:g} s (cell_timeout_s)")


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise _RangError in the block, that long from now, where the system can."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    armed = True

    def ring(number: int, frame: FrameType | None) -> None:
        if armed and frame is not None and frame.f_code.co_filename in _OWN:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        elif armed:
            raise _RangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, _AGAIN_S))
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
