"""SALICON's 15,000 .mat files at true size, generated, and reading them in a process of its own."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.progress import Silent

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from harness.progress import Bar

IMAGES = {"train": 10_000, "val": 5_000}
OBSERVERS, SAMPLES, FIXATIONS = 60, 120, 5
"""People an image, and mouse samples and fixations of a person on an image, as in the release of 2015."""
DISTINCT = 8
"""Files that are made; the others are further names (hard links) of them."""
SIZE = (480, 640)


def generate(root: Path, images: Mapping[str, int] = IMAGES, distinct: int = DISTINCT) -> int:
    """Write `fixations/<split>/*.mat` in the release's form; returns the number of mouse samples inside the images."""
    root.mkdir(parents=True, exist_ok=True)
    made = [root / f"made_{number}.mat" for number in range(distinct)]
    points = [_write(file, number) for number, file in enumerate(made)]
    total = 0
    for split, n in images.items():
        folder = root / "fixations" / split
        folder.mkdir(parents=True)
        for index in range(n):
            os.link(made[index % distinct], folder / f"COCO_{split}2014_{index + 1:012d}.mat")
            total += points[index % distinct]
    for file in made:
        file.unlink()
    return total


def _write(file: Path, seed: int) -> int:
    """A struct array `gaze`, an entry an observer, in doubles and compressed, as MATLAB saves it."""
    from scipy.io import savemat

    random = np.random.default_rng(seed)
    gaze = np.empty((OBSERVERS, 1), dtype=[(name, object) for name in ("location", "timestamp", "fixations")])
    total = 0
    for index, (n, m) in enumerate(random.poisson((SAMPLES, FIXATIONS), (OBSERVERS, 2))):
        # a mouse moves a little at a time, which is why the files are small
        moves = random.integers(-12, 13, (n, 2)).cumsum(axis=0) + np.array(SIZE[::-1]) // 2
        location = moves.clip(1, np.array(SIZE[::-1]) + 1).astype(np.float64)
        total += int((location <= np.array(SIZE[::-1])).all(axis=1).sum())
        stamps = np.sort(random.integers(0, 5000, n)).astype(np.float64)[:, None]
        gaze[index, 0] = (location, stamps, location[np.sort(random.integers(0, n, m))])
    about = {"image": file.stem, "resolution": np.array([SIZE], np.float64), "gaze": gaze}
    savemat(file, about, do_compression=True)
    return total


class _Watching(Silent):
    """Looks at the reading processes now and then: their peaks cannot be had when they are gone."""

    def __init__(self) -> None:
        self.done, self.workers_mib = 0, 0.0

    @contextmanager
    def phase(self, name: str, total: int, unit: str = "images") -> Iterator[Bar]:
        """Itself is the bar."""
        yield self

    def advance(self, n: int) -> None:
        """Every 500 files."""
        self.done += n
        if self.done % 500 == 0:
            self.workers_mib = max(self.workers_mib, sum(map(_peak_mib, active_children())))


def _peak_mib(process: BaseProcess) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def read(root: str) -> dict[str, Any]:
    """Seconds until the mouse samples of both splits are in columns, their number, what reading processes took."""
    from harness.data._gaze_source import MatFolder

    watching, folders = _Watching(), sorted((Path(root) / "fixations").iterdir())
    start, began = time.perf_counter(), time.process_time()
    splits = [MatFolder(folder, "mouse").columns(watching) for folder in folders]
    points = sum(int(columns.offset[-1]) for columns in splits)
    checked = sum(int(columns.row[-1]) + int(columns.time[0]) for columns in splits)  # both ends of what is mapped
    seconds = time.perf_counter() - start
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = time.process_time() - began + workers.ru_utime + workers.ru_stime
    answer = {"seconds": seconds, "cpu_seconds": cpu, "points": points, "checked": checked}
    return {**answer, "workers_mib": watching.workers_mib}
