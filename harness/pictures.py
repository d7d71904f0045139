"""Composed pictures: image | human gaze | prediction | the prediction over the image, a row an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from numpy import ndarray

BOX = 300
"""Every panel fits into a square of so many pixels."""
GAP, MARGIN, CAPTION = 10, 20, 34
TITLE_SIZES = (20, 17, 15, 13)
COLUMNS = ("image", "human gaze density", "prediction", "prediction over the image")
SYNTHETIC_COLUMNS = ("generated image", "simulated gaze density", *COLUMNS[2:])
OPACITY = (0.25, 0.8)
"""Of a map laid over its image, where it is smallest and where it is largest."""
INK, FAINT, PAPER, WARNING, UNKNOWN = "#1a1a1a", "#5a5a5a", "#ffffff", "#a33b00", (128, 128, 128)


@dataclass(frozen=True, eq=False)
class PictureRow:
    """One held-out image; density and prediction may be on any grid, they are shown on the image's."""

    image_id: int
    image: UInt8[ndarray, "H W 3"]
    density: Float[ndarray, "h w"]
    prediction: Float[ndarray, "h w"]
    scores: dict[str, float]
    """By metric, for this image; a metric that could not be computed is nan."""
    note: str = ""
    """Why it is shown, e.g. "best"."""


def contact_sheet(title: str, rows: Sequence[PictureRow], synthetic: bool) -> Image.Image:
    """The rows under a title, with one colour scale; says "synthetic" where the images and gaze are."""
    panels = [_panels(row) for row in rows]
    heights = [CAPTION + max((panel.height for panel in row), default=0) for row in panels]
    width = _left(len(COLUMNS)) - GAP + MARGIN
    top, bottom = MARGIN + (82 if synthetic else 58), 56
    sheet = Image.new("RGB", (width, top + sum(heights) + bottom), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, title, synthetic, top)
    y = top
    for row, images, height in zip(rows, panels, heights, strict=True):
        for column, panel in enumerate(images):
            sheet.paste(panel, (_left(column) + (BOX - panel.width) // 2, y))
        caption = y + height - CAPTION + 4
        name = f"image {row.image_id}" + (f"   {row.note}" if row.note else "")
        draw.text((_left(0), caption), name, INK, _font(13))
        draw.text((width - MARGIN, caption), _scores(row.scores), INK, _font(13), anchor="ra")
        y += height
    _draw_scale(sheet, draw, y + 8)
    return sheet


def colour(values: Float[ndarray, "h w"]) -> UInt8[ndarray, "h w 3"]:
    """A map in inferno (perceptually uniform) from its own minimum to its own maximum; grey where it is not finite."""
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    scaled = np.where(finite, values - low, 0) / (high - low if high > low else 1)
    coloured = _inferno()[(scaled * 255).round().astype(np.uint8)]
    coloured[~finite] = UNKNOWN
    return coloured


def fitted(image: Image.Image, box: int) -> Image.Image:
    """The image at the largest size that fits into a square of `box` pixels."""
    scale = box / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def map_picture(values: Float[ndarray, "h w"], size: tuple[int, int]) -> Image.Image:
    """A map on any grid as a coloured picture of (width, height) pixels."""
    resized = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32)).resize(size, Image.Resampling.BILINEAR)
    return Image.fromarray(colour(np.asarray(resized)))


def overlay(image: Image.Image, coloured: Image.Image) -> Image.Image:
    """A coloured map laid over its image, which loses its own colours; both of one size."""
    low, high = OPACITY
    # inferno's lightness rises with the value, so it can stand for it
    opacity = coloured.convert("L").point([round(255 * (low + (high - low) * level / 255)) for level in range(256)])
    return Image.composite(coloured, image.convert("L").convert("RGB"), opacity)


def _panels(row: PictureRow) -> tuple[Image.Image, ...]:
    picture = fitted(Image.fromarray(row.image), BOX)
    prediction = map_picture(row.prediction, picture.size)
    return picture, map_picture(row.density, picture.size), prediction, overlay(picture, prediction)


def _draw_head(draw: ImageDraw.ImageDraw, title: str, synthetic: bool, top: int) -> None:
    words, size = _fitting(title, _left(len(COLUMNS)) - GAP - MARGIN)
    draw.text((MARGIN, MARGIN + 16), words, INK, _font(size, bold=True), anchor="ls")
    if synthetic:
        note = "synthetic images and gaze: not a measurement of people"
        draw.text((MARGIN, MARGIN + 26), note, WARNING, _font(14, bold=True))
    for column, name in enumerate(SYNTHETIC_COLUMNS if synthetic else COLUMNS):
        draw.text((_left(column) + BOX // 2, top - 6), name, FAINT, _font(14), anchor="ms")


def _draw_scale(sheet: Image.Image, draw: ImageDraw.ImageDraw, y: int) -> None:
    bar = Image.fromarray(np.broadcast_to(_inferno()[None], (14, 256, 3)).copy())
    left = MARGIN + 72
    sheet.paste(bar, (left, y))
    draw.text((left - 8, y + 7), "minimum", FAINT, _font(13), anchor="rm")
    text = "maximum   each map on its own scale, from its smallest to its largest value"
    draw.text((left + bar.width + 8, y + 7), text, FAINT, _font(13), anchor="lm")


def _scores(scores: dict[str, float]) -> str:
    return "   ".join(f"{name} {value:.2f}" if np.isfinite(value) else f"{name} –" for name, value in scores.items())


def _left(column: int) -> int:
    return MARGIN + column * (BOX + GAP)


def _fitting(text: str, width: int) -> tuple[str, int]:
    """The text and its size: smaller where it would be wider than `width` pixels, at the smallest cut with an ellipsis.

    What tells two cells apart stands at the end of their names.
    """
    for size in TITLE_SIZES:
        if _font(size, bold=True).getlength(text) <= width:
            return text, size
    while len(text) > 1 and _font(size, bold=True).getlength(text) > width:
        text = text[:-2].rstrip() + "…"
    return text, size


@lru_cache(maxsize=8)
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    import matplotlib

    file = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file, size)


@lru_cache(maxsize=1)
def _inferno() -> UInt8[ndarray, "256 3"]:
    import matplotlib

    return (matplotlib.colormaps["inferno"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
