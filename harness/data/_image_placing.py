"""The images of a converted dataset: what they are called in it, and how they come there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Literal

from harness.errors import DataError
from harness.shown import shown

Images = Literal["copy", "link", "leave"]


def new_names(files: Sequence[Path]) -> list[str]:
    """A name for each: its own, or its path below the common folder where names repeat; numbered where these do."""
    wanted = [Path(file.name) for file in files]
    if len({str(name).casefold() for name in wanted}) < len(files):
        common = os.path.commonpath([file.parent for file in files])
        wanted = [file.relative_to(common) for file in files]
    taken: set[str] = set()
    return [_checked(_free(name, taken), file) for name, file in zip(wanted, files, strict=True)]


def names_below(files: Sequence[Path], folder: Path) -> list[str]:
    """The paths of images that stay where they are, relative to a folder above all of them; raises DataError."""
    try:
        return [_checked(file.relative_to(folder).as_posix(), file) for file in files]
    except ValueError as error:
        outside = next(file for file in files if not file.is_relative_to(folder))
        raise DataError(
            f"{shown(outside)}: images can be left in place only below {folder}; choose --out above them, "
            "or --images copy or link"
        ) from error


def place(file: Path, target: Path, how: Literal["copy", "link"]) -> None:
    """Copy or hard-link one image; raises DataError naming it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if how == "link":
            target.hardlink_to(file.resolve())
        else:
            shutil.copyfile(file, target)
    except OSError as error:
        hint = "; --images copy works on any disk" if how == "link" else ""
        raise DataError(f"{shown(file)}: cannot be put into the new dataset: {error.strerror}{hint}") from error


def _free(name: Path, taken: set[str]) -> str:
    """The name, numbered where it is taken (upper and lower case are the same on some disks). Takes it."""
    numbered = (name.with_name(f"{name.stem}-{n}{name.suffix}") for n in count(2))
    free = next(n.as_posix() for n in chain([name], numbered) if n.as_posix().casefold() not in taken)
    taken.add(free.casefold())
    return free


def _checked(name: str, file: Path) -> str:
    if not name.isprintable():  # a table or JSON file in UTF-8 must be able to say it
        raise DataError(f"{shown(file)}: rename the image, its name is not printable text")
    return name
