"""Image files that people name on a command line: files, folders, globs; and what to call what is made of each."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import has_magic
from itertools import chain, count
from pathlib import Path

from harness.errors import DataError
from harness.shown import shown

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""What counts as an image where a folder or a glob is given; a file that is named itself is tried whatever its name."""

LONGEST = 200
"""Bytes of a name: disks take 255, and endings and temporary files need some."""


@dataclass(frozen=True)
class ImageFile:
    """An image, and the relative path without a suffix of what is made of it."""

    path: Path
    name: str
    id: int | None = None
    """Of a dataset's image."""


def find_images(places: Sequence[str], leave_out: Path) -> list[ImageFile]:
    """Every image once, in the order given; folders are searched with all below them, but for the folder `leave_out`.

    Names follow the paths below a named folder or a glob's fixed part. Raises DataError for a folder or glob with none.
    """
    found: dict[Path, Path] = {}
    for place in places:
        for path, below in _images_of(place, leave_out.resolve()):
            found.setdefault(path.absolute(), below)
    return [ImageFile(path, name) for path, name in zip(found, _names(found), strict=True)]


def _images_of(place: str, leave_out: Path) -> Iterator[tuple[Path, Path]]:
    """(image, its path below what was named)."""
    path = Path(place)
    if path.is_dir():
        base, paths = path, _walk(path, leave_out)
    elif not path.exists() and has_magic(place):
        base, paths = _matching(path, leave_out)
    else:
        yield path, Path(path.name)
        return
    found = [(image, image.relative_to(base)) for image in paths]
    if not found:
        raise DataError(f"{shown(place)}: no image there ({', '.join(sorted(SUFFIXES))})")
    yield from found


def _walk(folder: Path, leave_out: Path) -> Iterator[Path]:
    """Images below a folder, sorted; hidden ones, links to folders and `leave_out` are passed over."""
    for top, folders, files in os.walk(folder):
        here = Path(top)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (here / f).resolve() != leave_out)
        yield from (here / file for file in sorted(files) if not file.startswith(".") and _is_image(here / file))


def _matching(pattern: Path, leave_out: Path) -> tuple[Path, Iterator[Path]]:
    """(the folder above the first part with a wildcard, the images), as `_walk` chooses them."""
    first = next(i for i, part in enumerate(pattern.parts) if has_magic(part))
    base = Path(*pattern.parts[:first])
    matches = sorted(base.glob("/".join(pattern.parts[first:])))
    visible = (path for path in matches if not any(part.startswith(".") for part in path.relative_to(base).parts))
    if base.resolve() in leave_out.parents:
        visible = (path for path in visible if leave_out not in path.resolve().parents)
    return base, filter(_is_image, visible)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _names(found: dict[Path, Path]) -> list[str]:
    """One for each: its path below what was named; else from the common folder; else with its suffix, or a number."""
    wanted = {path: below.with_suffix("") for path, below in found.items()}
    twins = _twins(wanted)
    if twins:
        common = Path(os.path.commonpath([path.parent for path in twins]))
        wanted |= {path: path.relative_to(common).with_suffix("") for path in twins}
    wanted |= {path: Path(f"{wanted[path]}{path.suffix}") for path in _twins(wanted)}
    taken: set[str] = set()
    return [_free(_short(wanted[path]).as_posix(), taken) for path in found]


def _short(name: Path) -> Path:
    """The name, its end replaced by a digest of it where what is added to it would make it too long for a disk."""
    whole = os.fsencode(name.name)
    if len(whole) <= LONGEST:
        return name
    kept = os.fsdecode(whole[: LONGEST - 13]).rstrip("".join(map(chr, range(0xDC80, 0xDD00))))
    return name.with_name(f"{kept}-{hashlib.sha256(whole).hexdigest()[:12]}")


def _free(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken: a.jpg and A.jpg in one folder. Takes it."""
    choices = chain([name], (f"{name}-{number}" for number in count(2)))
    free = next(choice for choice in choices if choice.casefold() not in taken)
    taken.add(free.casefold())
    return free


def _twins(wanted: dict[Path, Path]) -> list[Path]:
    """Images that share their name with another one, upper and lower case being the same on some disks."""
    times = Counter(str(name).casefold() for name in wanted.values())
    return [path for path, name in wanted.items() if times[str(name).casefold()] > 1]
