"""Several runs that write into one SQLite store at once take turns.

SQLite refuses whoever wants to write in the middle of another one's transaction ("database is locked"), and MLflow
creates its schema without looking whether somebody else is at it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.tracking.store import SQLITE


@contextmanager
def own_turn(uri: str) -> Iterator[None]:
    """Nobody else who asks writes into that store meanwhile; servers and other databases need no such order."""
    if not uri.startswith(SQLITE):
        yield
        return
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("a") as file:
        with suppress(OSError):  # a file system without locks: as before
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
