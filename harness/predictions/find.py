"""Which stored map belongs to which stimulus: by the stimulus' file stem, else by its id."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.dataset import Dataset
from harness.errors import DataError
from harness.predictions.decode import ARRAYS, IMAGES
from harness.predictions.salicon_json import read_results
from harness.predictions.stored import FileMap, StoredMap, archived_maps
from harness.shown import shown

Named = dict[str, list[StoredMap]]
ARCHIVES = (".npz", ".zip")
"""Read where they are named themselves; of these, in a folder, .npz only: a .zip there holds the PNGs beside it."""


@dataclass(frozen=True)
class Found:
    """The maps of a dataset's images."""

    maps: Mapping[int, StoredMap]
    """By image id."""
    missing: Sequence[tuple[int, str]]
    """(id, file) of every image without a map."""
    unused: int
    """Maps that belong to no image of the dataset."""


def find_maps(predictions: Path, dataset: Dataset) -> Found:
    """Match a folder, an archive or a SALICON results .json with the images; raises DataError for an ambiguous name.

    A file named by its id counts only if no stimulus has that stem; else the id is written `id-114`. Names are compared
    in Unicode's composed form, because some file systems decompose them, and escaped where they are no text.
    """
    if predictions.suffix.lower() == ".json" and predictions.is_file():
        by_id = read_results(predictions)
        maps = {int(id_): by_id[int(id_)] for id_ in dataset.ids if int(id_) in by_id}
        return _found(maps, dataset, len(by_id))
    named = _names(_stored(predictions))
    stems = [_normal(file.stem) for file in dataset.files]
    taken = Counter(stems)
    unique = {stem for stem, n in taken.items() if n == 1}
    maps = {}
    for id_, stem in zip(map(int, dataset.ids), stems, strict=True):
        of_stem = named.get(stem, []) if stem in unique else []
        of_id = named.get(id_name(id_, taken), [])
        if candidates := of_stem or of_id:
            maps[id_] = _only(candidates, id_)
    return _found(maps, dataset, len({stored.where for group in named.values() for stored in group}))


def id_name(image_id: int, stems: Container[str]) -> str:
    """What a map is called by its image's id, if it is not called by its image's stem: like no image's."""
    name = str(image_id)
    while name in stems:
        name = f"id-{name}"
    return name


def _found(maps: Mapping[int, StoredMap], dataset: Dataset, total: int) -> Found:
    files = zip(map(int, dataset.ids), dataset.files, strict=True)
    missing = [(id_, shown(file.name)) for id_, file in files if id_ not in maps]
    return Found(maps, missing, total - len(maps))


def _only(candidates: list[StoredMap], image_id: int) -> StoredMap:
    if len(candidates) > 1:
        names = ", ".join(stored.where for stored in candidates[:4])
        raise DataError(f"image {image_id} has {len(candidates)} maps: {names}; keep one")
    return candidates[0]


def _stored(predictions: Path) -> Iterator[tuple[str, StoredMap]]:
    """(name, map) of all below a folder, or in one archive; an archive's only map also has the archive's name."""
    for path in _files(predictions):
        if path.suffix.lower() not in ARCHIVES:
            yield path.stem, FileMap(path)
            continue
        maps = archived_maps(path)
        yield from ((one.key, one) for one in maps)
        if len(maps) == 1 and maps[0].key != path.stem:
            yield path.stem, maps[0]


def _files(predictions: Path) -> Iterator[Path]:
    if predictions.is_file() and predictions.suffix.lower() in ARCHIVES:
        yield predictions
        return
    if not predictions.is_dir():
        raise DataError(f"{predictions} is no folder of maps, no .npz or .zip and no SALICON results .json")
    for folder, subfolders, names in os.walk(predictions):
        subfolders.sort()
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in (*IMAGES, *ARRAYS):
                yield Path(folder) / name


def _names(stored: Iterable[tuple[str, StoredMap]]) -> Named:
    named: Named = defaultdict(list)
    for name, one in stored:
        named[_normal(name)].append(one)
    return named


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", shown(name))
