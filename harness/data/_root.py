"""Folders and file names that a user or a dataset gives."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

from harness.errors import DataError
from harness.paths import expanded

Links = Literal["inside", "anywhere"]


def existing_root(root: str | None) -> Path:
    """The dataset's folder; raises DataError where none is named or it is not there."""
    if root is None:
        raise DataError("where is the dataset? set dataset.root=FOLDER")
    folder = expanded(root).absolute()
    if not folder.is_dir():
        unset = [name for name in re.findall(r"\$\{?([A-Za-z_]\w*)", root) if name not in os.environ]
        first = f"set the environment variable {' and '.join(unset)}, or " if unset else ""
        raise DataError(f"{folder}: no such folder; {first}set dataset.root=FOLDER")
    return folder


def leaves_folder(name: str) -> bool:
    """Whether a file name would lead out of the folder that it is relative to, on any system."""
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    return ".." in parts or "\0" in name or PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).anchor)


def stray_link(path: Path, folders: Collection[Path]) -> Path | None:
    """Where a file really lies, if links lead out of all these folders (themselves resolved: they may be links)."""
    real = Path(os.path.realpath(path))  # which does not mind a link to itself
    return None if any(real.is_relative_to(folder) for folder in folders) else real


def stray_words(target: Path) -> str:
    """What is said of such a file."""
    return f"is a link to {target}, outside of the dataset's folders; if that is meant: dataset.links=anywhere"


def first_file(root: Path, places: tuple[str, ...], what: str) -> Path:
    """The first of these files below `root` that is there; raises DataError saying where was looked."""
    for place in places:
        if (root / place).is_file():
            return root / place
    raise DataError(f"{root}: no {what}; looked for {', '.join(places)}")


def first_folder(root: Path, places: tuple[str, ...], what: str) -> Path:
    """The first of these folders below `root` that is there; raises DataError saying where was looked."""
    for place in places:
        if (root / place).is_dir():
            return root / place
    raise DataError(f"{root}: no {what}; looked for {', '.join(f'{place}/' for place in places)}")
