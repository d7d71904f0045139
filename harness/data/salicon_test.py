"""SALICON's test images: 5,000 pictures whose gaze was never released, to be predicted for its leaderboard.

They are in `images/test` or `test`, or among others in `images` or the root as COCO_test2014_*.jpg. An image's id is
the one that image_info_test2014.json (COCO's list, or the release's) gives its file name, else the number in that name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data._gaze_mat import image_id
from harness.data._recordings import Stimulus
from harness.data._root import Links, existing_root, stray_link, stray_words
from harness.data.image_files import SUFFIXES
from harness.errors import DataError

NAME = "salicon-test"
KNOWN, SIZE = 5_000, (480, 640)
"""How many there are, and their (height, width): the leaderboard takes maps of that size."""
FOLDERS, AMONG_OTHERS = ("images/test", "test"), ("images", ".")
PREFIX = "COCO_test2014_"
INFO = "image_info_test2014.json"


@dataclass(frozen=True)
class TestImages:
    """What is there, by ascending id."""

    stimuli: Sequence[Stimulus]
    missing: Sequence[str]
    """Listed files that are not there, where the list is of SALICON's own images."""


def find_test_images(root: str | None, info: str | None = None, links: Links = "inside") -> TestImages:
    """The test images below `root`, `info` being their list where it is not found by its name.

    Raises DataError saying where it looked, for an image without an id, for an id that two files have, and for a link
    out of the folders of images unless `links` are allowed anywhere.
    """
    folder = existing_root(root)
    files = _files(folder)
    if links == "inside":
        _refuse_strays(files, folder)
    listed = _listed(folder, info)
    found: dict[int, Stimulus] = {}
    for file in files:
        id = listed.get(file.name, image_id(file))
        if id is None:
            raise DataError(f"{file}: which image is it? Its name has no number, and no {INFO} lists it")
        if id in found:
            raise DataError(f"{file} and {found[id].file.name} are both of image {id}; keep one")
        found[id] = Stimulus(id, file.stem, file)
    there = {file.name for file in files}
    missing = [name for name in listed if name not in there] if len(listed) <= KNOWN else []
    return TestImages([found[id] for id in sorted(found)], missing)


def _files(root: Path) -> list[Path]:
    for place in (*FOLDERS, *AMONG_OTHERS):
        files = [path for path in _images(root / place) if place in FOLDERS or path.name.startswith(PREFIX)]
        if files:
            return files
    own = ", ".join(f"{place}/" for place in FOLDERS)
    raise DataError(f"{root}: no test images; looked in {own} and for {PREFIX}*.jpg in images/ and the folder itself")


def _refuse_strays(files: Sequence[Path], root: Path) -> None:
    within = {(root / place).resolve() for place in (*FOLDERS, *AMONG_OTHERS)}
    for file in files:
        if target := stray_link(file, within):
            raise DataError(f"{file}: {stray_words(target)}")


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _listed(root: Path, info: str | None) -> Mapping[str, int]:
    """File name -> id; nothing where there is no list."""
    places = [root / (info or INFO), root / "annotations" / (info or INFO)]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        if info is not None:
            raise DataError(f"{root}: no {info}, neither there nor in annotations/")
        return {}
    try:
        images = json.loads(file.read_text(encoding="utf-8-sig"))["images"]
        return {str(image["file_name"]): int(image["id"]) for image in images}
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{file}: is no list of images ({type(error).__name__}: {error}); in COCO's it is "
            '{"images": [{"id": ..., "file_name": ...}, ...]}'
        ) from error
