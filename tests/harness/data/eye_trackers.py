"""Datasets in the layouts of their releases, small, written for a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from tests.harness.data.roots import save_jpeg

Paths = Mapping[str, Sequence[Sequence[tuple[float, float]]]]
"""Image -> subject -> (x, y), 1-based as in MATLAB."""


def cells(items: Sequence[Any]) -> np.ndarray[Any, Any]:
    """A MATLAB cell array, 1 x n."""
    made = np.empty((1, len(items)), dtype=object)
    for index, item in enumerate(items):
        made[0, index] = item
    return made


def structs(items: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, Any]:
    """A MATLAB struct array, 1 x n."""
    made = np.empty((1, len(items)), dtype=[(name, object) for name in items[0]])
    for index, item in enumerate(items):
        for name, value in item.items():
            made[name][0, index] = value
    return made


def save_fixations(file: Path, paths: Paths, array: Any) -> None:
    """`array` is cells (OSIE's own form: cells of structs) or structs (a struct array)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    entries = []
    for image, subjects in paths.items():
        fields = [
            {
                "fix_x": np.array([[x for x, _ in points]], np.float64).reshape(1, -1),
                "fix_y": np.array([[y for _, y in points]], np.float64).reshape(1, -1),
                "fix_duration": np.full((1, len(points)), 250.0),
            }
            for points in subjects
        ]
        entries.append({"img": image, "subjects": array(fields)})
    savemat(file, {"fixations": array(entries)})


def osie_root(root: Path, paths: Paths, size: tuple[int, int] = (60, 80), array: Any = cells) -> Path:
    save_fixations(root / "data" / "eye" / "fixations.mat", paths, array)
    for number, image in enumerate(paths):
        save_jpeg(root / "data" / "stimuli" / image, size, seed=number)
    return root


def mit_root(root: Path, paths: Paths, sizes: Mapping[str, tuple[int, int]]) -> Path:
    save_fixations(root / "fixations.mat", paths, structs)
    for number, image in enumerate(paths):
        save_jpeg(root / "ALLSTIMULI" / image, sizes[image], seed=number)
    (root / "ALLFIXATIONMAPS").mkdir()
    return root


def cat_root(root: Path, fixated: Mapping[str, np.ndarray[Any, Any]]) -> Path:
    """`fixated` by "Action/001": a 0/1 map of its image's size."""
    for number, (name, places) in enumerate(fixated.items()):
        save_jpeg(root / "Stimuli" / f"{name}.jpg", places.shape, seed=number)
        category, stem = name.split("/")
        save_jpeg(root / "Stimuli" / category / "Output" / f"{stem}_drawn.jpg", places.shape)
        file = root / "FIXATIONLOCS" / f"{name}.mat"
        file.parent.mkdir(parents=True, exist_ok=True)
        savemat(file, {"fixLocs": places})
    return root
