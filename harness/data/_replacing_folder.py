"""A folder that appears in one step, and is replaced only where everything in it was written by this program."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import DataError


def listed_files(folder: Path, manifest: str) -> set[str] | None:
    """The files that the manifest in `folder` lists, itself included; None without a readable one."""
    try:
        document = json.loads((folder / manifest).read_text(encoding="utf-8"))
        return {manifest, *map(str, document["files"])}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def write_manifest(folder: Path, manifest: str, facts: Mapping[str, Any]) -> None:
    """Write the facts, as `listed_files` reads them: `files` are relative to the folder."""
    (folder / manifest).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


@contextmanager
def new_folder(out: Path, manifest: str, *, overwrite: bool) -> Iterator[Path]:
    """A hidden neighbour to write into, which becomes `out` when the block ends without an error.

    Raises DataError where something is there already, unless it may be overwritten and the manifest lists all of it.
    """
    check_replaceable(out, manifest, overwrite=overwrite)
    with _neighbour(out.parent, out.name) as building:
        yield building
        old = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
        there = out.exists()
        if there:
            out.rename(old)
        try:
            building.rename(out)
        except OSError:
            if there:
                old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def into_folder(out: Path, manifest: str, targets: Sequence[str], *, overwrite: bool) -> Iterator[Path]:
    """A hidden folder below `out` to write the targets into; they are moved to their places when the block ends.

    Raises DataError for a missing folder, and for a target that is there unless the manifest lists it.
    """
    if not out.is_dir():
        raise DataError(f"{out}: no such folder; images can be left in place only below --out")
    ours = (listed_files(out, manifest) or set()) if overwrite else set()
    if taken := [name for name in (*targets, manifest) if os.path.lexists(out / name) and name not in ours]:
        hint = "which this command did not write" if overwrite else "--overwrite replaces what this command wrote"
        raise DataError(f"{out / taken[0]} is there already; {hint}")
    with _neighbour(out, "converting") as building:
        yield building
        for name in (*targets, manifest):
            if (building / name).exists():
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                (building / name).replace(out / name)
            elif name in ours:  # of an earlier time, in another form
                (out / name).unlink(missing_ok=True)


def check_replaceable(out: Path, manifest: str, *, overwrite: bool) -> None:
    """Raises DataError as `new_folder` does."""
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise DataError(f"{out}: is not a folder; choose another --out")
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_symlink() or not path.is_dir()}
    if not there:
        return
    if not overwrite:
        raise DataError(f"{out}: is not empty; choose another --out (--overwrite replaces what this command wrote)")
    if strange := sorted(there - (listed_files(out, manifest) or set())):
        more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        raise DataError(f"{out}: has {strange[0]}{more}, which this command did not write; choose another --out")


@contextmanager
def _neighbour(parent: Path, name: str) -> Iterator[Path]:
    try:
        parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    except OSError as error:
        raise DataError(f"{parent}: cannot be written: {error.strerror}; choose another --out") from error
    try:
        building.chmod(0o755)
        yield building
    except OSError as error:
        raise DataError(f"{parent}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
