"""The contact sheet where MLflow's image grid finds it: in small what the cell predicts, in full the whole sheet."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from harness.album import Album, evenly
from harness.errors import SalprobeError
from harness.pictures import PAPER, fitted, map_picture, overlay
from harness.results import CONTACT_SHEET, MAPS
from harness.small_maps import SmallMaps

if TYPE_CHECKING:
    from harness.results import CellResult, RunRecord

KEY = "contact_sheet"
"""The name under which the image grid shows it, in every run."""
FOLDER = "images"
"""Where MLflow looks for logged images."""
TILE, GAP = 250, 6
QUALITY = {"quality": 75, "method": 0}


def stage_images(run: RunRecord, result: CellResult, folder: Path, timestamp: int) -> bool:
    """Write both sizes as MLflow names them (`client.log_image` of MLflow 3.1 to 3.17); False where there is no sheet.

    They are JPEG and WebP of 0.1 MB, where log_image would write a PNG of 2 MB.
    """
    if result.folder is None or not (result.folder / CONTACT_SHEET).is_file():
        return False
    # the same name in every upload of a cell, so that a run brought up to date shows one picture, not two
    unique = uuid.uuid5(uuid.NAMESPACE_OID, result.key)
    name = f"{KEY}%step%0%timestamp%{timestamp}%{unique}"
    (folder / FOLDER).mkdir()
    with Image.open(result.folder / CONTACT_SHEET) as sheet:
        sheet.save(folder / FOLDER / f"{name}.webp", **QUALITY)
        small = _predictions(run, result) or fitted(sheet, 2 * TILE)
    small.save(folder / FOLDER / f"{name}%compressed.webp", **QUALITY)
    return True


def _predictions(run: RunRecord, result: CellResult) -> Image.Image | None:
    """Predictions laid over the sheet's images, nearly square; None where maps or stimuli were not kept."""
    assert result.folder is not None
    album = Album(run.folder)
    try:
        maps = SmallMaps.load(result.folder / MAPS)
        chosen = evenly(result.per_image.ids.tolist(), run.recipe.pictures)
        found = [(album.stimulus(image_id).image, maps[image_id]) for image_id, _ in chosen if image_id in maps]
    except (SalprobeError, OSError):
        return None
    tiles = []
    for pixels, prediction in found:
        picture = fitted(Image.fromarray(pixels), TILE)
        tiles.append(overlay(picture, map_picture(prediction, picture.size)))
    return _mosaic(tiles) if tiles else None


def _mosaic(tiles: list[Image.Image]) -> Image.Image:
    columns = math.ceil(math.sqrt(len(tiles) * max(t.height for t in tiles) / max(t.width for t in tiles)))
    width, height = (max(getattr(tile, side) for tile in tiles) + GAP for side in ("width", "height"))
    rows = math.ceil(len(tiles) / columns)
    mosaic = Image.new("RGB", (columns * width - GAP, rows * height - GAP), PAPER)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        mosaic.paste(tile, (column * width + (width - GAP - tile.width) // 2, row * height))
    return mosaic
