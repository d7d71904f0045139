"""The release's own density maps (PNG) beside densities blurred from its points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data._gaze import BadGazeError
from harness.data._gaze_columns import GazeColumns
from harness.data.dataset import Split
from harness.data.images import BadImageError, decoded, file_bytes, open_image
from harness.density import blur_points
from harness.errors import DataError
from harness.types import Size

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

    from harness.progress import Progress

MAP_FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("maps/train", "maps"),
    "test": ("maps/val", "maps"),
}
SIGMAS = (9.0, 12.0, 15.0, 17.0, 19.0, 21.0, 24.0, 28.0, 33.0, 40.0)
"""Blurs that are tried, in pixels of a 480-row image."""


@dataclass(frozen=True)
class Comparison:
    """How well blurred points are the released maps."""

    images: int
    correlation: float
    """Mean Pearson correlation at the project's own blur of 19 px at 480 rows."""
    best_sigma: float
    best_correlation: float
    unreadable: Sequence[str] = ()
    """Maps that could not be compared, with the reason."""


def released_maps(root: Path, split: Split) -> dict[str, Path]:
    """The split's maps by the stem of their image's name."""
    for folder in MAP_FOLDERS[split]:
        found = {path.stem: path for path in sorted((root / folder).glob("*.png"))}
        if found:
            return found
    return {}


def read_released(path: Path, id: int | str, size: Size | None = None) -> Float[ndarray, "h w"]:
    """A released map, float32 from 0; raises BadImageError for one that cannot be read or has not that size."""
    try:
        image = open_image(file_bytes(path), ["PNG"])
        values = decoded(image, None if image.mode in ("I;16", "I") else "F").astype(np.float32)
    except DataError as error:
        raise BadImageError(id, str(path), f"released map cannot be read: {error}") from error
    if size is not None and values.shape != size:
        sizes = f"{values.shape[0]}x{values.shape[1]}, its image {size[0]}x{size[1]}"
        raise BadImageError(id, str(path), f"the released map is {sizes}")
    return values


def compare_with_blur(gaze: GazeColumns, maps: Mapping[str, Path], most: int, progress: Progress) -> Comparison:
    """On images spread evenly over those that have both."""
    stems = [Path(image["file_name"]).stem for image in gaze.images]
    both = [index for index, stem in enumerate(stems) if stem in maps and index not in gaze.problems]
    chosen = both[:: max(1, len(both) // most)][:most]
    correlations, bad = [], []
    with progress.phase("comparing released maps", len(chosen)) as bar:
        for index in chosen:
            try:
                correlations.append(_correlations(gaze, index, maps[stems[index]]))
            except BadImageError as error:
                bad.append(str(error))
            bar.advance(1)
    usable = [each for each in correlations if np.isfinite(each).all()]  # a constant map has none
    if not usable:
        return Comparison(0, float("nan"), float("nan"), float("nan"), bad)
    mean = np.mean(usable, axis=0)
    best = int(mean.argmax())
    return Comparison(len(usable), float(mean[SIGMAS.index(19.0)]), SIGMAS[best], float(mean[best]), bad)


def _correlations(gaze: GazeColumns, index: int, path: Path) -> Sequence[float]:
    image = gaze.images[index]
    stated = (image["height"], image["width"]) if "height" in image and "width" in image else None
    released = read_released(path, image["id"], stated)
    size = (released.shape[0], released.shape[1])
    try:
        points = gaze.points(index, size)
    except BadGazeError as error:
        raise BadImageError(image["id"], str(path), str(error)) from error
    if released.min() == released.max():
        return [float("nan")]
    blurred = (blur_points(points.row, points.col, size, sigma * size[0] / 480).numpy() for sigma in SIGMAS)
    return [float(np.corrcoef(released.ravel(), density.ravel())[0, 1]) for density in blurred]
