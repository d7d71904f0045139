"""The held-out stimuli as pictures show them: made when first asked for, kept in `stimuli/` beside the results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from harness.data.images import decoded, file_bytes, open_image, read_image
from harness.density import points_to_grid, sigma_for
from harness.errors import DataError, ResultsError
from harness.files import make_folder, replace, replacing
from harness.pictures import PictureRow, contact_sheet, fitted
from harness.shown import shown
from harness.small_maps import LONGEST

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from numpy import ndarray

    from harness.data.dataset import Dataset
    from harness.metrics import Metric
    from harness.per_image import PerImage
    from harness.small_maps import SmallMaps

STIMULI, INDEX = "stimuli", "index.json"
SIDE = 400
"""Pixels on the longer side of an image as it is kept."""
JPEG: dict[str, Any] = {"format": "JPEG", "quality": 85}
EXTREMES = 5
"""Images shown from either end of a ranking."""
_RECENT = 64


@dataclass(frozen=True, eq=False)
class Stimulus:
    """A held-out image and everybody's gaze on it, small."""

    image_id: int
    file: str
    """The image file's name, without its folder."""
    image: UInt8[ndarray, "h w 3"]
    density: Float[ndarray, "gh gw"]
    """From 0 to 1, at most 64 cells on the longer side."""


class Album:
    """Reads what is kept in a results folder; raises ResultsError for an image that is not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / STIMULI
        self._read = lru_cache(_RECENT)(self._from_disk)

    @property
    def ids(self) -> list[int]:
        """The images that are there."""
        return sorted(map(int, self._index))

    def stimulus(self, image_id: int) -> Stimulus:
        """That image."""
        return self._read(image_id)

    def rows(self, per_image: PerImage, maps: SmallMaps, chosen: Iterable[tuple[int, str]]) -> Iterator[PictureRow]:
        """(image id, note) -> what a contact sheet shows of a cell's prediction for it."""
        for image_id, note in chosen:
            found = self.stimulus(image_id)
            yield PictureRow(image_id, found.image, found.density, maps[image_id], per_image.score_of(image_id), note)

    @cached_property
    def _index(self) -> dict[str, dict[str, Any]]:
        try:
            return dict(json.loads((self.folder / INDEX).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise ResultsError(f"no readable {INDEX} in {self.folder}: {error}") from error

    def _from_disk(self, image_id: int) -> Stimulus:
        try:
            pixels = decoded(open_image(file_bytes(self.folder / f"{image_id}.jpg"), ["JPEG"]), "RGB")
            density = decoded(open_image(file_bytes(self.folder / f"{image_id}.png"), ["PNG"]), "L") / 255
        except DataError as error:
            raise ResultsError(f"image {image_id} is not among those kept in {self.folder}: {error}") from error
        return Stimulus(image_id, self._name(image_id), pixels, density)

    def _name(self, image_id: int) -> str:
        return str(self._index.get(str(image_id), {}).get("file", ""))


class GrowingAlbum(Album):
    """The album of a run: an image is decoded once, when a picture first needs it."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        super().__init__(folder)
        self.dataset = dataset
        self._rows = {int(id_): row for row, id_ in enumerate(dataset.ids)}
        self._made = self._still_there()

    def stimulus(self, image_id: int) -> Stimulus:
        """That image; raises KeyError for one that the dataset lacks, DataError for one that cannot be read."""
        if image_id not in self._made:
            self._make(image_id, self._rows[image_id])
        return super().stimulus(image_id)

    def draw(
        self, title: str, per_image: PerImage, maps: SmallMaps, chosen: Sequence[tuple[int, str]], path: Path
    ) -> None:
        """A contact sheet of these images, as a JPEG."""
        rows = list(self.rows(per_image, maps, chosen))
        _save(contact_sheet(title, rows, synthetic=self.dataset.synthetic), path, **JPEG)

    def close(self) -> None:
        """Write the index of all images made."""
        if self._made:
            replace(self.folder / INDEX, json.dumps(self._made, indent=1, sort_keys=True).encode())

    def _name(self, image_id: int) -> str:
        return str(self._made[image_id]["file"])

    def _make(self, image_id: int, row: int) -> None:
        make_folder(self.folder)
        file, size = self.dataset.files[row], self.dataset.size(row)
        image = Image.fromarray(read_image(file, image_id).permute(1, 2, 0).numpy())
        _save(fitted(image, min(SIDE, max(image.size))), self.folder / f"{image_id}.jpg", **JPEG)
        points, longest = self.dataset.points(row), max(size)
        shrink = min(1.0, LONGEST / longest)
        grid = (max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink)))
        density = points_to_grid(points.row, points.col, size, sigma_for(size[0]), grid).numpy()
        scaled = (density / density.max() if density.max() > 0 else density) * 255
        _save(Image.fromarray(scaled.round().astype(np.uint8)), self.folder / f"{image_id}.png", format="PNG")
        self._made[image_id] = self._entry(row)

    def _entry(self, row: int) -> dict[str, Any]:
        """What the index says of an image."""
        height, width = self.dataset.size(row)
        points, digests = self.dataset.points(row), self.dataset.image_sha256
        gaze = hashlib.sha256(points.row.tobytes() + points.col.tobytes()).hexdigest()
        data = {"image": digests[row] if digests else "", "gaze": gaze}
        return {"file": shown(self.dataset.files[row].name), "height": height, "width": width, **data}

    def _still_there(self) -> dict[int, dict[str, Any]]:
        """What an earlier run of the same data left: the index is written after the pictures that it names."""
        try:
            index = self._index
        except ResultsError:
            return {}
        known = {int(id_): entry for id_, entry in index.items() if int(id_) in self._rows}
        return {id_: entry for id_, entry in known.items() if entry == self._entry(self._rows[id_])}


def _save(image: Image.Image, path: Path, **how: Any) -> None:
    """In one step; a picture lost with the power can be drawn again."""
    with replacing(path, sync=False) as temporary:
        image.save(temporary, **how)


def evenly(ids: Sequence[int], n: int) -> list[tuple[int, str]]:
    """The same few images for every cell: evenly spread."""
    n = min(n, len(ids))
    return [(int(ids[i * len(ids) // n]), "") for i in range(n)]


def ranking(per_image: PerImage, metric: Metric) -> list[int]:
    """The images that have a score, best first."""
    return per_image.ranked(metric.name, higher_is_better=metric.higher_is_better)


def extremes(ranked: Sequence[int], n: int = EXTREMES) -> list[tuple[int, str]]:
    """The first and the last `n` of a ranking and its middle; none twice where there are few."""
    best = [(image_id, f"best {place}") for place, image_id in enumerate(ranked[:n], 1)]
    rest = ranked[n:]
    worst = [(image_id, f"worst {place}") for place, image_id in enumerate(reversed(rest[-n:]), 1)]
    middle = [(rest[: -len(worst)][(len(ranked) // 2) - n], "median")] if len(rest) > len(worst) else []
    return [*best, *middle, *reversed(worst)]
