"""Several runs that write into one SQLite store at once take turns.

SQLite refuses whoever wants to write in the middle of another one's transaction ("database is locked"), and MLflow
creates its schema without looking whether somebody else is at it.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from harness.errors import TrackingError
from harness.tracking.store import SQLITE

PATIENCE_S, POLL_S = 60.0, 0.02
"""A turn takes a second at most; whoever holds the store for a minute does not give it back."""


@contextmanager
def own_turn(uri: str) -> Iterator[None]:
    """Nobody else who asks writes into that store meanwhile; servers and other databases need no such order.

    Raises TrackingError where it does not come to this one's turn.
    """
    if not uri.startswith(SQLITE):
        yield
        return
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("a") as file:
        _wait_for(file, database)
        yield


def _wait_for(file: TextIO, database: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TrackingError(
                    f"{database} has been in use by another process for more than {PATIENCE_S:g} s: stop that one"
                ) from None
            time.sleep(POLL_S)
        except OSError:  # a file system without locks: as before
            return
        else:
            return
