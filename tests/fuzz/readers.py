"""Every reader of files that a user was handed, how it is called, and what input it is tried with."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from hypothesis import strategies as st

from harness.data import _annotation_stream
from harness.data._fixation_structs import load_scanpaths, recordings_of
from harness.data._gaze_mat import read_mat
from harness.data._gaze_table import read_gaze_table
from harness.data._released import read_released
from harness.data.cat2000 import _gaze as fixated_pixels
from harness.data.images import check_image, read_image
from harness.data.salicon import Salicon
from harness.errors import SalprobeError
from harness.plan import make_plan
from harness.predictions.decode import decode_map
from harness.predictions.salicon_json import read_results
from harness.predictions.stored import FileMap, archived_maps
from harness.readout_files import load_readout
from harness.recipe import load_recipe
from harness.small_maps import SmallMaps
from tests.fuzz import seeds
from tests.fuzz.mutations import TREES, damaged, grafted
from tests.harness.data.roots import NAMES, image, save_jpeg


@dataclass(frozen=True)
class Reader:
    """`read` takes one input in a folder of its own; what it may raise is a declared error."""

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any, Path], object]


def _as_json(documents: list[Any]) -> st.SearchStrategy[bytes]:
    written = [json.dumps(document).encode() for document in documents]
    return damaged(written) | grafted(documents).map(lambda document: json.dumps(document).encode())


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _annotations(content: bytes, folder: Path) -> None:
    for id_ in (3, 5):
        if not (picture := folder / "images" / image(id_)["file_name"]).exists():
            save_jpeg(picture)
    _file(folder, f"annotations/{NAMES['train']}", content)
    for piece in (_annotation_stream.PIECE, 64):  # whole, and cut into pieces as a large file is
        with patch.object(_annotation_stream, "PIECE", piece), suppress(SalprobeError):
            Salicon(root=str(folder), edition="custom", points="eye", on_bad="skip").read("train")


def _gaze_mat(content: bytes, folder: Path) -> None:
    for kind in ("mouse", "fixations"):
        read_mat(_file(folder, "m_000000000009.mat", content), kind)  # type: ignore[arg-type]


def _scanpaths(content: bytes, folder: Path) -> None:
    file = _file(folder, "fixations.mat", content)
    found = recordings_of(load_scanpaths(file), file, folder, lambda position, _: position, nearest=True)
    for index in range(len(found.stimuli)):
        found.gaze(index)


def _image(content: bytes, folder: Path) -> None:
    path = _file(folder, "a.jpg", content)
    check_image(path, 1)
    read_image(path, 1)


def _archive(content: bytes, folder: Path) -> None:
    for stored in archived_maps(_file(folder, "maps.npz", content)):
        stored.read()


def _results(content: bytes, folder: Path) -> None:
    for stored in read_results(_file(folder, "results.json", content)).values():
        stored.read()


def _readout(content: tuple[str, bytes], folder: Path) -> None:
    for name, whole in seeds.readouts().items():
        _file(folder, name, content[1] if name == content[0] else whole)
    load_readout(folder)


def _small_maps(content: bytes, folder: Path) -> None:
    maps = SmallMaps.load(_file(folder, "maps.npz", content))
    _ = 3 in maps


def _planned(content: bytes, folder: Path) -> None:
    make_plan(load_recipe(str(_file(folder, "mine.yaml", content))))


def _overridden(overrides: list[str], folder: Path) -> None:
    load_recipe(str(_file(folder, "mine.yaml", seeds.RECIPE.encode())), overrides)


_KEYS = st.lists(st.sampled_from(["name", "dataset", "probes", "0", "9", "²", "٣", "", "input", "plugins"]) | st.text())
_OVERRIDE = damaged([text.encode() for text in seeds.OVERRIDES]).map(
    lambda data: data.decode(errors="surrogateescape")
) | st.builds(lambda keys, value: f"{'.'.join(keys)}={value}", _KEYS, TREES.map(str))

READERS: dict[str, Reader] = {
    "annotations": Reader(_as_json(seeds.annotations()), _annotations),
    "gaze .mat": Reader(st.deferred(lambda: damaged(seeds.gaze_mats())), _gaze_mat),
    "fixations.mat": Reader(st.deferred(lambda: damaged(seeds.fixation_mats())), _scanpaths),
    "cat2000 .mat": Reader(
        damaged(seeds.location_mats()), lambda content, folder: fixated_pixels(_file(folder, "001.mat", content))
    ),
    "images": Reader(damaged(seeds.image_files()), _image),
    "released maps": Reader(
        damaged(seeds.map_images()),
        lambda content, folder: read_released(_file(folder, "3.png", content), 3, (7, 9)),
    ),
    "map images": Reader(
        st.tuples(st.sampled_from([".png", ".tif", ".jpg"]), damaged(seeds.map_images())),
        lambda given, _: decode_map(given[1], given[0], "map"),
    ),
    ".npy": Reader(damaged(seeds.arrays()), lambda content, folder: FileMap(_file(folder, "1.npy", content)).read()),
    ".npz": Reader(damaged(seeds.archives()), _archive),
    "results .json": Reader(_as_json(seeds.result_files()), _results),
    "tables": Reader(
        st.sampled_from(sorted(seeds.tables().items())).flatmap(
            lambda item: damaged([item[1]]).map(lambda content: (item[0], content))
        ),
        lambda given, folder: read_gaze_table(_file(folder, f"gaze{given[0]}", given[1])),
    ),
    "recipes": Reader(
        damaged([seeds.RECIPE.encode()])
        | grafted([yaml.safe_load(seeds.RECIPE)]).map(lambda document: yaml.safe_dump(document).encode()),
        _planned,
    ),
    "overrides": Reader(st.lists(_OVERRIDE, min_size=1, max_size=3), _overridden),
    "readouts": Reader(
        st.sampled_from(["readout.json", "readout.safetensors"]).flatmap(
            lambda name: damaged([seeds.readouts()[name]]).map(lambda content: (name, content))
        ),
        _readout,
    ),
    "small maps": Reader(st.deferred(lambda: damaged(seeds.small_maps())), _small_maps),
}
