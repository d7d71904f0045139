"""Temporary folders that go with their process, or at the next start if it was killed."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import weakref
from pathlib import Path

MARK = ".features-"


class Scratch:
    """A folder of this process in `parent`; removed by `remove()`, with the object, or at the interpreter's exit."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        remove_stale(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"{_mine()}-", dir=parent))
        self._finalizer = weakref.finalize(self, _remove, self.path, os.getpid())

    def remove(self) -> None:
        """Delete the folder and all in it."""
        self._finalizer()

    def become(self, target: Path) -> bool:
        """Rename the folder to `target`, to stay; False if another was first."""
        try:
            self.path.rename(target)
        except OSError:  # a folder with something in it is never replaced
            return False
        self._finalizer.detach()
        self.path = target
        return True


def remove_stale(parent: Path) -> None:
    """Remove what killed processes of this machine left there."""
    for folder in parent.glob(f"{MARK}*"):
        pid, _, rest = folder.name.removeprefix(MARK).partition("-")
        if pid.isdigit() and rest.startswith(f"{socket.gethostname()}-") and not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def remove_at_once(folder: Path) -> None:
    """Rename, then delete: nobody sees half of it, and a stop in between leaves a stale folder."""
    doomed = Path(tempfile.mkdtemp(prefix=f"{_mine()}-", dir=folder.parent))
    folder.rename(doomed / folder.name)
    shutil.rmtree(doomed, ignore_errors=True)


def _mine() -> str:
    return f"{MARK}{os.getpid()}-{socket.gethostname()}"


def _remove(path: Path, pid: int) -> None:
    if pid == os.getpid():  # a forked worker must not take its parent's files
        shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
