"""Stand-ins for a large dataset: a few hundred JPEG files that thousands of images share, gaze for every image.

Pictures have what costs a decoder and a network as natural ones do: a spectrum that falls with frequency, edges, about
SALICON's bytes a file. Gaze falls around each picture's discs and around the centre, so that there is something to fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from harness.data.dataset import Dataset, Split
from harness.types import Size

QUALITY = 90
OCTAVES, AMPLITUDE, FALL = 8, 26.0, 1.2
"""Of the noise: about as steep as natural pictures, some 95 kB a file at 480x640."""
DISCS = 6
OBSERVERS = 12
AT_THE_CENTRE = 0.3
"""Share of the points that fall around the centre."""
SPREAD = 0.06
"""Standard deviation of the points around a disc, in parts of the height."""


@dataclass(frozen=True)
class Scene:
    """A picture's file and where its discs are, (discs, 2) rows and columns in parts of the height and width."""

    path: Path
    discs: NDArray[np.float64]


def write_scenes(folder: Path, n: int, size: Size, seed: int = 0) -> list[Scene]:
    """Draw `n` pictures; the same ones for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = []
    for index in range(n):
        random = np.random.default_rng([seed, index])
        scene = Scene(folder / f"{index:04d}.jpg", random.uniform(0.1, 0.9, (DISCS, 2)))
        _picture(scene, size, random).save(scene.path, quality=QUALITY)
        scenes.append(scene)
    return scenes


def stand_in(split: Split, scenes: list[Scene], n: int, size: Size, points: int, seed: int = 0) -> Dataset:
    """A split of `n` images, each one of the scenes with gaze of its own: `points` points, duplicates kept."""
    random = np.random.default_rng([seed, split == "test"])
    which = np.arange(n) % len(scenes)
    discs = np.stack([scene.discs for scene in scenes])
    chosen = discs[which[:, None], random.integers(0, DISCS, (n, points))]
    central = random.random((n, points)) < AT_THE_CENTRE
    centre = np.where(central[..., None], 0.5, chosen)
    spread = np.where(central, 3 * SPREAD, SPREAD)[..., None]
    place = centre + spread * random.standard_normal((n, points, 2)) * [1.0, size[0] / size[1]]
    pixel = np.clip(place * size, 0, np.array(size) - 1).astype(np.int32).reshape(-1, 2)
    return Dataset(
        name="stand-in",
        split=split,
        edition="generated",
        points_kind="simulated",
        ids=np.arange(n, dtype=np.int64) + 10**6 * (split == "test"),
        files=tuple(scenes[i].path for i in which),
        height=np.full(n, size[0], np.int32),
        width=np.full(n, size[1], np.int32),
        offset=np.arange(n + 1, dtype=np.int64) * points,
        row=pixel[:, 0].copy(),
        col=pixel[:, 1].copy(),
        observer=np.tile(np.arange(points, dtype=np.int32) % OBSERVERS, n),
        synthetic=True,
    )


def _picture(scene: Scene, size: Size, random: np.random.Generator) -> Image.Image:
    """Octaves of noise, with discs and boxes of one colour on them."""
    height, width = size
    total = np.zeros((height, width, 3))
    for octave in range(OCTAVES):
        cells = random.standard_normal((3 * 2**octave, 4 * 2**octave, 3)) * AMPLITUDE / FALL**octave
        planes = [Image.fromarray(cells[..., c].astype(np.float32)).resize((width, height), 3) for c in range(3)]
        total += np.stack([np.asarray(plane) for plane in planes], axis=-1)
    image = Image.fromarray((128 + total).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for index, (row, col) in enumerate(scene.discs * size):
        radius = random.uniform(0.03, 0.09) * height
        box = (col - radius, row - radius, col + radius, row + radius)
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        (draw.ellipse if index % 3 else draw.rectangle)(box, fill=colour)
    return image
