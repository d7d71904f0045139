"""Valid files of every kind that the readers take: what is mutated."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import savemat

from harness.predictions.salicon_json import result_entry
from harness.readout import LinearReadout
from harness.readout_files import save_readout
from harness.small_maps import SmallMaps
from tests.harness.data.eye_trackers import cells, save_fixations, structs
from tests.harness.data.roots import two_images
from tests.harness.data.test_gaze_mat import OBSERVERS, write_mat

RECIPE = """\
name: mine
description: "one of everything"
dataset: {reader: demo, train: 6, test: 3, height: 96, width: 128}
backbones:
  - pixels
  - {name: pixels, layers: [each]}
layers: [each, all]
probes:
  - ridge
  - {name: sgd, loss: [mse, kl], epochs: 10}
  - {name: elastic-net, layers: [all]}
  - centre
metrics: [cc, nss]
compare: nss
input: {scale: 0.5}
grid: [6, 8]
folds: 2
seed: 3
batch_size: auto
cache: {budget_gib: 1.5, tiers: [host]}
tracking: {enabled: false, uri: null}
"""
OVERRIDES = ("backbones.0.layers=[all]", "probes.1.loss=kl", "dataset.train=7", "input={size: [4, 5]}", "limit=3")
_PICTURES = {"JPEG": {"quality": 60}, "PNG": {}, "BMP": {}, "WEBP": {"lossless": True}, "TIFF": {}}


def image_files() -> list[bytes]:
    """Small pictures in every format, and in modes that take other ways through the decoders."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    files = [_saved(picture, format, **how) for format, how in _PICTURES.items()]
    files += [_saved(picture, "TIFF", compression=how) for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits")]
    files += [_saved(picture.convert(mode), "PNG") for mode in ("L", "P", "1", "LA")]
    return [*files, _saved(picture, "JPEG", progressive=True), _saved(picture.convert("CMYK"), "JPEG")]


def map_images() -> list[bytes]:
    """Grey maps as PNG, TIFF and JPEG."""
    grey = Image.fromarray(np.arange(63, dtype=np.uint8).reshape(7, 9))
    fine = Image.fromarray(np.arange(63, dtype=np.uint16).reshape(7, 9) * 1000)
    real = Image.fromarray(np.linspace(0, 1, 63, dtype=np.float32).reshape(7, 9))
    return [_saved(grey, "PNG"), _saved(fine, "PNG"), _saved(real, "TIFF"), _saved(grey, "TIFF"), _saved(grey, "JPEG")]


def arrays() -> list[bytes]:
    """Maps as .npy of several types."""
    return [_npy(np.arange(12).reshape(3, 4).astype(kind)) for kind in ("<f4", ">f8", "u1", "<i8", "?", "<f2")]


def archives() -> list[bytes]:
    """Maps as .npz, stored and compressed."""
    files = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name in ("1", "folder/2"):
                archive.writestr(f"{name}.npy", _npy(np.ones((3, 4), np.float32)))
        files.append(buffer.getvalue())
    return files


def result_files() -> list[Any]:
    """SALICON results, as documents."""
    (grey, *_) = map_images()
    entries = [json.loads(result_entry(id_, grey)) for id_ in (3, 5)]
    return [entries, [{"image_id": 3, "saliency_map": [[0.5, 1], [2, 3]]}]]


def annotations() -> list[Any]:
    """SALICON annotation files, as documents."""
    rich = {"info": {"year": 2014}, **two_images(), "categories": [{"id": 1}]}
    return [two_images(), rich]


@cache
def gaze_mats() -> list[bytes]:
    """SALICON's .mat files, plain and compressed."""
    return [_written("m_000000000009.mat", lambda file: write_mat(file, OBSERVERS)), *_compressed(gaze_mat_document())]


def gaze_mat_document() -> dict[str, Any]:
    """What is in one of SALICON's .mat files."""
    gaze = structs([{"location": np.array([[3, 4]]), "timestamp": np.array([[7]]), "fixations": np.array([[5, 2]])}])
    return {"resolution": np.array([[12, 20]]), "gaze": gaze}


@cache
def fixation_mats() -> list[bytes]:
    """fixations.mat of OSIE and MIT1003."""
    paths = {"1001.jpg": [[(1.5, 2.0), (30, 20)], []], "1002.jpg": [[(4, 4)]]}
    plain = [_written("f.mat", lambda file, how=how: save_fixations(file, paths, how)) for how in (cells, structs)]  # type: ignore[misc]
    return [*plain, *_compressed({"fixations": structs([{"img": "1.jpg", "subjects": structs([_subject()])}])})]


def location_mats() -> list[bytes]:
    """CAT2000's maps of fixated pixels."""
    return [_mat({"fixLocs": np.eye(6, 8, dtype=np.uint8)}), *_compressed({"fixLocs": np.eye(6, 8)})]


def tables() -> dict[str, bytes]:
    """Tables of gaze by their suffix."""
    frame = pd.DataFrame(
        {"image": ["a.jpg", "b.jpg"] * 2, "observer": ["ann", "7"] * 2, "x": [0, 1.5, 3, 4], "y": [4, 3, 2, 1]}
    )
    full = frame.assign(t=[1, 2, 3, 4], id=[5, 6] * 2, split=["train", "test"] * 2)
    return {
        ".csv": full.to_csv(index=False).encode(),
        ".tsv": frame.to_csv(index=False, sep="\t").encode(),
        ".parquet": full.to_parquet(),
    }


@cache
def readouts() -> dict[str, bytes]:
    """The two files of a saved readout."""
    import torch

    with tempfile.TemporaryDirectory() as name:
        save_readout(LinearReadout({"layer3": torch.ones(4)}, 0.5, info={"alpha": 1.0}), Path(name))
        return {file.name: file.read_bytes() for file in Path(name).iterdir()}


@cache
def small_maps() -> list[bytes]:
    """The maps that a run keeps of a cell."""
    import torch

    maps = SmallMaps()
    maps.add([3, 5], torch.rand(2, 4, 5))
    return [_written("maps.npz", maps.save)]


def _subject() -> dict[str, Any]:
    return {"fix_x": np.array([[1.0, 2.0]]), "fix_y": np.array([[3.0, 4.0]])}


def _saved(picture: Image.Image, format: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **how)
    return buffer.getvalue()


def _npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _mat(document: dict[str, Any], **how: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, document, **how)
    return buffer.getvalue()


def _compressed(document: dict[str, Any]) -> list[bytes]:
    return [_mat(document, do_compression=True)]


def _written(name: str, write: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()
