"""Tiny datasets in the SALICON layout, written for a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.dataset import Dataset
from harness.data.salicon import Salicon

SIZE = (12, 20)
NAMES = {"train": "fixations_train2014.json", "test": "fixations_val2014.json"}


def save_jpeg(path: Path, size: tuple[int, int] = SIZE, seed: int = 0, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, format="JPEG")


def image(id: int, size: tuple[int, int] = SIZE, **changes: Any) -> dict[str, Any]:
    return {"id": id, "file_name": f"{id}.jpg", "height": size[0], "width": size[1], **changes}


def annotation(id: int, image_id: int, fixations: Any, worker_id: Any = 1) -> dict[str, Any]:
    return {"id": id, "image_id": image_id, "worker_id": worker_id, "fixations": fixations}


def two_images() -> dict[str, Any]:
    """Images 5 and 3 (in that order), two workers on each; [1, 20] is the top right corner of 12x20."""
    return {
        "images": [image(5), image(3)],
        "annotations": [
            annotation(1, 5, [[1, 20], [12, 1], [1, 20]], worker_id=70),
            annotation(2, 5, [[2, 3]], worker_id=9),
            annotation(3, 3, [[4, 5]], worker_id=9),
            annotation(4, 3, [], worker_id=70),
        ],
    }


def write_root(
    root: Path, document: Any, *, split: str = "train", images: str = "images", annotations: str = "annotations"
) -> Path:
    """The annotation file, and a JPEG for every image of it."""
    file = root / annotations / NAMES[split]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    for record in document["images"]:
        save_jpeg(root / images / record["file_name"], seed=record["id"])
    return file


def read(root: Path, split: str = "train", **parameters: Any) -> Dataset:
    """That split of it, as the reader reads it."""
    return Salicon(root=str(root), **{"edition": "custom", "points": "mouse", **parameters}).read(split)  # type: ignore[arg-type]


def points_of(dataset: Dataset, id: int) -> list[tuple[int, int, int]]:
    """(row, column, observer) of every point on an image."""
    points = dataset.points(dataset.ids.tolist().index(id))
    return list(zip(points.row.tolist(), points.col.tolist(), points.observer.tolist(), strict=True))
