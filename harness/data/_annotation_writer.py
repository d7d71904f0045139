"""The SALICON JSON of a split: images, and an annotation for every observer of an image; written one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data._gaze_source import ANNOTATIONS

if TYPE_CHECKING:
    from harness.data.dataset import Dataset
    from harness.progress import Bar

FOLDERS = {"train": "images/train", "test": "images/val"}
"""Where the images of a split lie."""
FILES = {split: f"annotations/{name}" for split, name in ANNOTATIONS.items()}


def write_annotations(file: Path, dataset: Dataset, names: Sequence[str], info: Mapping[str, str], bar: Bar) -> None:
    """`fixations` are [row, col], 1-based, in their order; an image without gaze is listed and has no annotation."""
    images = [
        {"id": int(id), "file_name": name, "height": dataset.size(index)[0], "width": dataset.size(index)[1]}
        for index, (id, name) in enumerate(zip(dataset.ids, names, strict=True))
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="ascii") as out:
        out.write(f'{{"info": {_json(info)},\n"images": {_json(images)},\n"annotations": [')
        for number, annotation in enumerate(_annotations(dataset, bar), start=1):
            out.write(",\n" * (number > 1) + _json({"id": number, **annotation}))
        out.write("]}\n")


def labels_of(dataset: Dataset) -> Sequence[int | str]:
    """What the people are called, by their number in `observer`: that number where the source has no names."""
    return dataset.observer_labels or range(int(dataset.observer.max(initial=-1)) + 1)


def _annotations(dataset: Dataset, bar: Bar) -> Iterator[dict[str, Any]]:
    labels = labels_of(dataset)
    for index, id in enumerate(dataset.ids.tolist()):
        points = dataset.points(index)
        pairs = np.stack([points.row, points.col], axis=1) + 1
        order = np.argsort(points.observer, kind="stable")
        people, first = np.unique(points.observer[order], return_index=True)
        for observer, own in zip(people.tolist(), np.split(order, first[1:]), strict=False):
            yield {"image_id": id, "worker_id": labels[observer], "fixations": pairs[own].tolist()}
        bar.advance(1)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
