"""One run at a time writes into a results folder."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from harness.errors import BusyError
from harness.files import writing

log = logging.getLogger("salprobe")
LOCK = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system takes back from a process that dies; raises BusyError.

    Readers do not ask for it.
    """
    path = folder / LOCK
    file = _take(path)
    try:
        _sign(file)
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: whoever opened it meanwhile sees that it is gone
        file.close()


def _sign(file: BinaryIO) -> None:
    """Say who holds it; on a full disk it is held all the same."""
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().astimezone().isoformat()}
    with suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(holder).encode())


def _take(path: Path) -> BinaryIO:
    """The file, locked and still in its place."""
    while True:
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab+", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = _words(file.read())
            file.close()
            raise BusyError(
                f"{path.parent} is in use by another run ({holder}): wait for it, stop it, or choose another --out"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            log.warning("%s: its file system has no locks; let only one run at a time write there", path.parent)
            return file
        if _is_at(path, file):
            return file
        file.close()


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _words(content: bytes) -> str:
    try:
        holder = json.loads(content)
        since = datetime.fromisoformat(holder["since"]).strftime("%Y-%m-%d %H:%M:%S")
        return f"process {holder['pid']} on {holder['host']}, since {since}"
    except (ValueError, LookupError, TypeError):
        return "just begun"
