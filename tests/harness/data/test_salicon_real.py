"""The reader on real recordings, against what json and numpy alone say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.salicon import Salicon

FOLDER = os.environ.get("SALPROBE_TEST_DATA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="SALPROBE_TEST_DATA is not set: no real data here")

CASES = {
    "osie eye train": ("osie640", "eye", "train", "fixations_eye_train.json", 500),
    "osie eye test": ("osie640", "eye", "test", "fixations_eye_val.json", 200),
    "salicon train": ("salicon71", "mouse", "train", "fixations_train2014.json", 61),
    "salicon test": ("salicon71", "mouse", "test", "fixations_val2014.json", 10),
}


@pytest.mark.parametrize(("folder", "kind", "split", "file", "n"), CASES.values(), ids=CASES.keys())
def test_totals_and_every_point(folder: str, kind: Any, split: Any, file: str, n: int) -> None:
    root = Path(FOLDER or "") / folder
    names: dict[str, Any] = {split: file}
    dataset = Salicon(root=str(root), edition="custom", points=kind, **names).read(split)
    raw = json.loads((root / "annotations" / file).read_text())
    assert len(dataset) == len(raw["images"]) == n
    assert dataset.skipped == ()
    assert len(dataset.row) == sum(len(a["fixations"]) for a in raw["annotations"])
    workers = sorted({a["worker_id"] for a in raw["annotations"]})
    rows = [
        (a["image_id"], workers.index(a["worker_id"]), row - 1, col - 1)
        for a in raw["annotations"]
        for row, col in a["fixations"]
    ]
    image = np.repeat(dataset.ids, np.diff(dataset.offset))
    found = np.stack([image, dataset.observer, dataset.row, dataset.col], axis=1)
    assert np.array_equal(np.array(sorted(rows)), found[np.lexsort(found.T[::-1])])


def test_every_osie_image_has_the_same_15_observers() -> None:
    dataset = Salicon(
        root=f"{FOLDER}/osie640",
        edition="custom",
        points="eye",
        train="fixations_eye_train.json",
    ).read("train")
    for index in range(len(dataset)):
        assert np.array_equal(np.unique(dataset.points(index).observer), np.arange(15))
        assert dataset.size(index) == (480, 640)
