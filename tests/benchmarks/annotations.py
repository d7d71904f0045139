"""An annotation file of SALICON's true size, generated, and reading it in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

IMAGES, WORKERS, POINTS = 10_000, 60, 115
"""Of fixations_train2014.json: images, people an image, points a person and image (69 million in all)."""
SIZE = (480, 640)


def generate(path: Path, images: int = IMAGES, seed: int = 0) -> int:
    """Write the file in the release's form; returns the number of its points."""
    random = np.random.default_rng(seed)
    rows = np.array([f"[{row}," for row in range(SIZE[0] + 1)])
    columns = np.array([f"{column}]" for column in range(SIZE[1] + 1)])
    total = 0
    with path.open("w", encoding="ascii") as file:
        listed = ",".join(
            f'{{"id":{i + 1},"file_name":"COCO_train2014_{i + 1:012d}.jpg","width":640,"height":480,"license":1}}'
            for i in range(images)
        )
        file.write(f'{{"info":{{}},"type":"fixations","licenses":[],"images":[{listed}],"annotations":[')
        for image in range(images):
            lengths = random.poisson(POINTS, WORKERS)
            row, column = random.integers(1, SIZE[0] + 1, lengths.sum()), random.integers(1, SIZE[1] + 1, lengths.sum())
            texts = np.split(np.char.add(rows[row], columns[column]), np.cumsum(lengths)[:-1])
            workers = random.integers(1, 4000, WORKERS) * 64 + np.arange(WORKERS)
            records = (
                f'{{"id":{image * WORKERS + i + 1},"image_id":{image + 1},"worker_id":{workers[i]},'
                f'"fixations":[{",".join(text)}]}}'
                for i, text in enumerate(texts)
            )
            file.write(("," if image else "") + ",".join(records))
            total += int(lengths.sum())
        file.write("]}")
    return total


def read(path: str) -> dict[str, Any]:
    """Seconds until all gaze of the file is in columns, and how many points that are."""
    from harness.data._gaze_source import AnnotationFile
    from harness.progress import Silent

    start = time.perf_counter()
    columns = AnnotationFile(Path(path)).columns(Silent())
    points = int(columns.offset[-1])
    checked = int(columns.row[-1]) + int(columns.col[0])  # touches both ends of what is mapped
    return {"seconds": time.perf_counter() - start, "points": points, "checked": checked}
