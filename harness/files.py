"""Files that are there whole or not at all: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import UnwritableError

_LEFTOVER = re.compile(r"\..+\.\d+")


def replace(path: Path, content: bytes) -> None:
    """Write a file in one step; it, and what was renamed in its folder before, outlasts a loss of power.

    Raises UnwritableError.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    sync_folder(path.parent)


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A temporary neighbour to write into; it takes the file's place (fsync if `sync`, rename) when it is complete.

    Raises UnwritableError; the file is then what it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            yield temporary
            if sync:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever the system says about writing there is raised as UnwritableError, which names the place."""
    try:
        yield
    except UnwritableError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        raise UnwritableError(
            f"cannot write {path}: {why}; make room there, or choose another --out", error.errno, why
        ) from error


def make_folder(folder: Path) -> None:
    """The folder and those above it, where they are not there yet; raises UnwritableError."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last beyond a loss of power, where its file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary neighbours that killed processes left below a folder; nobody may be writing there."""
    for path in folder.rglob(".*"):
        if _LEFTOVER.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
