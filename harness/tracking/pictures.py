"""Pictures where MLflow's image grid finds them: the same few images in every run, so that they can be compared."""

from __future__ import annotations

import math
import uuid
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from harness.album import Album, evenly
from harness.errors import SalprobeError
from harness.pictures import PAPER, fitted, map_picture, overlay
from harness.results import CONTACT_SHEET, MAPS
from harness.small_maps import SmallMaps

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

    from harness.results import CellResult, RunRecord

HUMAN, PREDICTION = KEYS = ("human_gaze", "prediction")
"""The names under which the grid shows them."""
FOLDER = "images"
"""Where MLflow looks for logged images."""
TILE, GAP = 250, 6
BETWEEN = "+"
"""Stands between the parts of a file's name. MLflow wrote % for a while, which its own server then decoded."""


def stage_images(run: RunRecord, result: CellResult, album: Album, folder: Path, timestamp: int) -> bool:
    """Write what humans looked at and what the cell predicts, small; a click on the latter opens the contact sheet.

    Named as `client.log_image` does, but WebP of 0.1 MB where that would write a PNG of 2 MB. False where the run kept
    no maps, stimuli or sheet.
    """
    if result.folder is None or not (result.folder / CONTACT_SHEET).is_file():
        return False
    try:
        maps = SmallMaps.load(result.folder / MAPS)
        chosen = [id_ for id_, _ in evenly(result.per_image.ids.tolist(), run.recipe.pictures) if id_ in maps]
        human = _human(album, tuple(chosen))
        predicted = _over_images(album, {id_: maps[id_] for id_ in chosen})
    except (SalprobeError, OSError, ValueError):
        return False
    with Image.open(result.folder / CONTACT_SHEET) as sheet:
        pictures = {HUMAN: (human, human), PREDICTION: (_webp(sheet), _webp(predicted))}
    (folder / FOLDER).mkdir()
    for key, (full, small) in pictures.items():
        name = _name(key, result, timestamp)
        (folder / FOLDER / f"{name}.webp").write_bytes(full)
        (folder / FOLDER / f"{name}{BETWEEN}compressed.webp").write_bytes(small)
    return True


def _name(key: str, result: CellResult, timestamp: int) -> str:
    # the same in every upload of a run, so that one that is brought up to date shows one picture, not two
    unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{result.key} {key}")
    return BETWEEN.join([key, "step", "0", "timestamp", str(timestamp), str(unique)])


@lru_cache(maxsize=4)
def _human(album: Album, ids: tuple[int, ...]) -> bytes:
    """The same for all cells of a run."""
    return _webp(_over_images(album, {id_: album.stimulus(id_).density for id_ in ids}))


def _over_images(album: Album, maps: dict[int, Float[ndarray, "h w"]]) -> Image.Image:
    """Maps laid over their images, together nearly square; raises ValueError for none."""
    tiles = []
    for image_id, values in maps.items():
        picture = fitted(Image.fromarray(album.stimulus(image_id).image), TILE)
        tiles.append(overlay(picture, map_picture(values, picture.size)))
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    columns = max(1, round(math.sqrt(len(tiles) * height / width)))
    rows = math.ceil(len(tiles) / columns)
    mosaic = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), PAPER)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        mosaic.paste(tile, (column * (width + GAP) + (width - tile.width) // 2, row * (height + GAP)))
    return mosaic


def _webp(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "WEBP", quality=75, method=0)
    return file.getvalue()
