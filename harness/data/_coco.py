"""A SALICON annotation file: its shape checked, its gaze in arrays, indexed by pycocotools.

What is wrong here is wrong with the file as a whole (not JSON, not COCO, an id used twice), so it is always an error.
"""

from __future__ import annotations

import contextlib
import io
import json
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data._annotation_stream import stream_annotations
from harness.data._root import leaves_folder
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pycocotools.coco import COCO

    from harness.progress import Bar

Record = dict[str, Any]
_NUMBERS = {int, float}
_WORDS = reprlib.Repr()
_WORDS.maxstring = _WORDS.maxother = 100


def load_index(file: Path, bar: Bar) -> COCO:
    """The file's images and annotations by id; `fixations` are (n, 2) arrays. Raises DataError naming file and id."""
    try:
        document = stream_annotations(file, bar) or _parse(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    for part in ("images", "annotations"):
        records = document.get(part)
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise DataError(f"{file}: '{part}' must be a list of objects, as in COCO")
        _check_ids(records, part, file)
    for image in document["images"]:
        _check_image(image, file)
    for annotation in document["annotations"]:
        _check_annotation(annotation, file)
    return _index(document)


def observer_codes(annotations: Iterable[Record]) -> dict[int | str, int]:
    """worker_id -> 0, 1, ... in order of the ids (numbers before texts)."""
    workers = {annotation["worker_id"] for annotation in annotations}
    return {w: code for code, w in enumerate(sorted(workers, key=lambda w: (isinstance(w, str), w)))}


def _parse(file: Path) -> Record:
    try:
        # gaze becomes arrays while parsing: as lists, the points of the full dataset take ten times the memory
        document = json.loads(file.read_text(encoding="utf-8-sig"), object_hook=_with_arrays)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{file}: must hold one JSON object with 'images' and 'annotations', as in COCO")
    return document


def _with_arrays(record: Record) -> Record:
    if isinstance(record.get("fixations"), list):
        record["fixations"] = _points(record["fixations"])
    return record


def _points(fixations: list[Any]) -> NDArray[Any] | None:
    """(n, 2) integers or floats, or None for anything else."""
    # looked at one by one before: of one long text among many NumPy would make as many long texts
    if not all(type(point) is list and len(point) == 2 and {*map(type, point)} <= _NUMBERS for point in fixations):
        return None
    try:
        points = np.asarray(fixations) if fixations else np.empty((0, 2), np.int64)
    except (ValueError, OverflowError):
        return None
    return points if points.dtype.kind in "iuf" and points.ndim == 2 and points.shape[1] == 2 else None


def _check_ids(records: list[Record], part: str, file: Path) -> None:
    ids = [record.get("id") for record in records]
    if bad := [id for id in ids if not _is_id(id)]:
        raise DataError(f"{file}: every one of '{part}' needs an integer 'id'; found {_WORDS.repr(bad[0])}")
    if twice := [id for id, n in Counter(ids).items() if n > 1]:
        raise DataError(f"{file}: {len(twice)} id(s) of '{part}' are used more than once; the first is {twice[0]}")


def _check_image(image: Record, file: Path) -> None:
    name, where = image.get("file_name"), f"{file}: image {image['id']}"
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: 'file_name' must be a file name; found {_WORDS.repr(name)}")
    if leaves_folder(name):
        raise DataError(
            f"{where}: file_name {_WORDS.repr(name)} leaves the dataset's folder; give it relative to that folder"
        )
    for side in ("height", "width"):
        if side in image and not (_is_id(image[side]) and image[side] > 0):
            raise DataError(f"{where}: '{side}' must be a positive integer; found {_WORDS.repr(image[side])}")


def _check_annotation(annotation: Record, file: Path) -> None:
    where = f"{file}: annotation {annotation['id']}"
    if not _is_id(annotation.get("image_id")):
        raise DataError(f"{where}: needs an integer 'image_id'; found {_WORDS.repr(annotation.get('image_id'))}")
    worker = annotation.get("worker_id")
    if not (_is_id(worker) or isinstance(worker, str)):
        raise DataError(
            f"{where}: needs a 'worker_id' (a number or a text), so that observers can be kept apart; "
            f"found {_WORDS.repr(worker)}. If every annotation is another person, number them"
        )
    if not isinstance(annotation.get("fixations"), np.ndarray):
        raise DataError(f"{where}: 'fixations' must be a list of [row, col] pairs of numbers")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _index(document: Mapping[str, Any]) -> COCO:
    from pycocotools.coco import COCO

    coco = COCO()
    # without 'categories', which would make the index ask each annotation for a category_id
    coco.dataset = {part: document[part] for part in ("images", "annotations")}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco
