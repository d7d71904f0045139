"""Generated scenes: a few objects before a textured background, one or two of which differ from the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.data._textures import Pixels, background, photo_patch, rgb
from harness.types import Size

DIFFER_BY = ("colour", "orientation", "size", "everything")
SHAPES = ("disc", "box", "diamond")


@dataclass(frozen=True)
class Thing:
    """An object: centre and half axes in pixels, angle of its long axis in radians from the columns' axis."""

    row: float
    col: float
    long: float
    short: float
    angle: float
    hue: float
    shape: str
    photo: bool = False

    @property
    def elongation(self) -> float:
        """0 for a round thing, towards 1 for a bar."""
        return 1 - self.short / self.long


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, (h, w, 3) bytes, and what is in it."""

    pixels: NDArray[np.uint8]
    things: tuple[Thing, ...]


def load_photos() -> tuple[Pixels, ...]:
    """The two photographs that scikit-learn carries, in 0..1."""
    from sklearn.datasets import load_sample_image

    return tuple(load_sample_image(name).astype(np.float32) / 255 for name in ("china.jpg", "flower.jpg"))


def compose(rng: np.random.Generator, size: Size, photos: Sequence[Pixels]) -> Scene:
    """A scene of 3 to 9 objects; everything random comes from `rng`."""
    hue = rng.random()
    canvas = background(rng, size, hue, photos)
    things = _arranged(rng, size, _family(rng, size, hue))
    for thing in things:
        _draw(canvas, thing, rng, photos)
    return Scene((np.clip(canvas, 0, 1) * 255).round().astype(np.uint8), things)


def _family(rng: np.random.Generator, size: Size, background_hue: float) -> list[Thing]:
    """Alike objects, then one or two that differ by colour, orientation or size; or objects of all kinds."""
    n = int(rng.integers(3, 10))
    differ_by = DIFFER_BY[int(rng.integers(len(DIFFER_BY)))]
    long = min(size) * rng.uniform(0.055, 0.085)
    aspect = rng.uniform(0.25, 0.4) if differ_by == "orientation" else rng.uniform(0.6, 1)
    # away from the background's hue, so that no object is invisible
    hue = background_hue + rng.uniform(0.25, 0.5)
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    alike = Thing(0, 0, long, long * aspect, rng.uniform(0, np.pi), hue, shape)
    n_odd = n if differ_by == "everything" else int(rng.integers(1, 3))
    family = [_jittered(rng, alike) for _ in range(n)]
    family[:n_odd] = [_odd(rng, thing, differ_by) for thing in family[:n_odd]]
    return family


def _jittered(rng: np.random.Generator, thing: Thing) -> Thing:
    scale = rng.uniform(0.9, 1.1)
    return replace(
        thing,
        long=thing.long * scale,
        short=thing.short * scale,
        angle=thing.angle + rng.normal(0, 0.06),
        hue=thing.hue + rng.normal(0, 0.015),
    )


def _odd(rng: np.random.Generator, thing: Thing, differ_by: str) -> Thing:
    if differ_by == "colour":
        return replace(thing, hue=thing.hue + rng.uniform(0.3, 0.5))
    if differ_by == "orientation":
        return replace(thing, angle=thing.angle + rng.uniform(0.8, np.pi / 2))
    factor = rng.uniform(1.7, 2.2) if differ_by == "size" else rng.uniform(0.6, 2)
    larger = replace(thing, long=thing.long * factor, short=thing.short * factor)
    if differ_by == "size":
        return larger
    return replace(
        larger,
        hue=thing.hue + rng.uniform(-0.25, 0.25),
        angle=rng.uniform(0, np.pi),
        shape=SHAPES[int(rng.integers(len(SHAPES)))],
        photo=bool(rng.random() < 0.3),
    )


def _arranged(rng: np.random.Generator, size: Size, family: Sequence[Thing]) -> tuple[Thing, ...]:
    """Each object at a random place inside the image, clear of those before it; left out if there is no room."""
    placed: list[Thing] = []
    for thing in family:
        for _ in range(60):
            margin = min(thing.long, 0.45 * min(size))
            row, col = rng.uniform(margin, size[0] - margin), rng.uniform(margin, size[1] - margin)
            if all(np.hypot(row - o.row, col - o.col) > 1.15 * (thing.long + o.long) for o in placed):
                placed.append(replace(thing, row=row, col=col))
                break
    return tuple(placed)


def _draw(canvas: Pixels, thing: Thing, rng: np.random.Generator, photos: Sequence[Pixels]) -> None:
    """Paint the object, its edge one pixel soft, over its shadow."""
    _paint(canvas, replace(thing, row=thing.row + 0.18 * thing.short), np.float32(0.1), 0.35, 0.3 * thing.short)
    side = 2 * int(thing.long) + 5
    if thing.photo:
        skin = photo_patch(rng, (side, side), photos, smallest=0.35)
    else:
        across = np.linspace(-1, 1, side, dtype=np.float32)
        shade = 1.0 - 0.22 * across[:, None, None] + 0.05 * rng.standard_normal((side, side, 1))
        skin = rgb(thing.hue, rng.uniform(0.75, 0.95), rng.uniform(0.7, 0.85)) * shade.astype(np.float32)
    _paint(canvas, thing, skin, 1.0, 1.0)


def _paint(canvas: Pixels, thing: Thing, skin: Pixels | np.float32, opacity: float, softness: float) -> None:
    side = 2 * int(thing.long) + 5
    top, left = int(thing.row) - side // 2, int(thing.col) - side // 2
    rows = slice(max(top, 0), min(top + side, canvas.shape[0]))
    cols = slice(max(left, 0), min(left + side, canvas.shape[1]))
    y = np.arange(rows.start, rows.stop)[:, None] + 0.5 - thing.row
    x = np.arange(cols.start, cols.stop)[None, :] + 0.5 - thing.col
    cover = opacity * np.clip(0.5 - _signed_distance(thing, x, y) / softness, 0, 1)[..., None]
    if isinstance(skin, np.ndarray):
        skin = skin[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
    canvas[rows, cols] += (cover * (skin - canvas[rows, cols])).astype(np.float32)


def _signed_distance(thing: Thing, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """About the distance to the outline in pixels, negative inside."""
    cos, sin = np.cos(thing.angle), np.sin(thing.angle)
    along, across = np.abs(x * cos + y * sin) / thing.long, np.abs(y * cos - x * sin) / thing.short
    if thing.shape == "disc":
        radius = np.hypot(along, across)
    elif thing.shape == "box":
        radius = 1.15 * np.maximum(along, across)
    else:
        radius = along + across
    return np.asarray((radius - 1) * thing.short)
