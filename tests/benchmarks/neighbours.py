"""OSIE, MIT1003 and CAT2000 in the layout and size of their releases, generated, and reading them anew."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.harness.data.eye_trackers import cells, save_fixations, structs

DISTINCT = 4
"""Image and .mat files that are made; the others are further names (hard links) of them."""
SIZES = {"osie": (600, 800), "mit1003": (768, 1024), "cat2000": (1080, 1920)}
IMAGES = {"osie": 700, "mit1003": 1003, "cat2000": 2000}
OBSERVERS, FIXATIONS = 15, (6, 12)
CATEGORIES, FIXATED = 20, 380
"""CAT2000's, the latter the pixels that 18 to 24 people fixated in 5 s."""


def generate(root: Path, name: str, images: int) -> None:
    """The dataset with so many images."""
    root.mkdir(parents=True, exist_ok=True)
    random, size = np.random.default_rng(0), SIZES[name]
    pictures = [root / f"made_{number}.jpg" for number in range(DISTINCT)]
    for file in pictures:
        pixels = random.integers(0, 256, (size[0] // 16, size[1] // 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size[::-1]).save(file)
    if name == "cat2000":
        _cat2000(root, images, pictures, random)
        return
    paths = {f"{1001 + i}.jpg": [_path(random, size) for _ in range(OBSERVERS)] for i in range(images)}
    osie = name == "osie"
    save_fixations(root / ("data/eye" if osie else ".") / "fixations.mat", paths, cells if osie else structs)
    for index, image in enumerate(paths):
        _link(pictures[index % DISTINCT], root / ("data/stimuli" if osie else "ALLSTIMULI") / image)


def _path(random: np.random.Generator, size: tuple[int, int]) -> list[tuple[float, float]]:
    xy = random.uniform(1, size[::-1], (random.integers(*FIXATIONS), 2))
    return [(float(x), float(y)) for x, y in xy]


def _cat2000(root: Path, images: int, pictures: list[Path], random: np.random.Generator) -> None:
    mats = [root / f"made_{number}.mat" for number in range(DISTINCT)]
    for file in mats:
        places = np.zeros(SIZES["cat2000"], np.uint8)
        places[tuple(random.integers(0, n, FIXATED) for n in places.shape)] = 1
        savemat(file, {"fixLocs": places}, do_compression=True)
    for index in range(images):
        place = f"Category{index % CATEGORIES:02d}/{index // CATEGORIES + 1:03d}"
        _link(pictures[index % DISTINCT], root / "Stimuli" / f"{place}.jpg")
        _link(mats[index % DISTINCT], root / "FIXATIONLOCS" / f"{place}.mat")


def _link(made: Path, name: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    os.link(made, name)


def read(root: str, name: str) -> dict[str, Any]:
    """Seconds until both splits are in columns, once and again, processor seconds of the first, images and points."""
    from harness.data.dataset import DATASETS
    from harness.plan import build
    from harness.recipe import Entry

    reader = build(DATASETS, Entry.model_validate({"name": name, "root": root}), name)
    seconds, cpu, splits = [], [], []
    for _ in range(2):
        start, began = time.perf_counter(), time.process_time()
        splits = [reader.read("train"), reader.read("test")]
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - began)
    counts = {"images": sum(map(len, splits)), "points": sum(len(split.row) for split in splits)}
    return {"seconds": seconds[0], "again_s": seconds[1], "cpu_seconds": cpu[0], **counts}
