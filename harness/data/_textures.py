"""Backgrounds of generated scenes, (h, w, 3) in 0..1: clouds of 1/f noise, gratings, gradients, blurred photographs."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.types import Size

Pixels = NDArray[np.float32]
"""A picture, (h, w, 3), in 0..1."""


def rgb(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """A colour, hue on a circle of length 1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32)


def background(rng: np.random.Generator, size: Size, hue: float, photos: Sequence[Pixels]) -> Pixels:
    """One of the four kinds, each as likely as the others, in muted colours around `hue`."""
    kinds = (_clouds, _grating, _gradient)
    kind = int(rng.integers(4))
    return _photograph(rng, size, photos) if kind == 3 else kinds[kind](rng, size, hue)


def noise(rng: np.random.Generator, size: Size, exponent: float) -> NDArray[np.float32]:
    """Noise whose amplitude falls as 1/f^exponent, mean 0, standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None])
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(size)) / frequency**exponent, s=size)
    return np.asarray(field / field.std(), np.float32)


def _clouds(rng: np.random.Generator, size: Size, hue: float) -> Pixels:
    light = noise(rng, size, rng.uniform(0.9, 1.4))[..., None]
    tint = noise(rng, size, 1.6)[..., None]
    base, other = rgb(hue, rng.uniform(0.1, 0.35), 0.5), rgb(hue + 0.12, 0.3, 0.5)
    return _within(base + 0.12 * light + 0.25 * tint * (other - base))


def _grating(rng: np.random.Generator, size: Size, hue: float) -> Pixels:
    """A faint oblique grating, warped a little, as on cloth or sand."""
    row, col = _axes(size)
    angle, cycles = rng.uniform(0, np.pi), rng.uniform(8, 30)
    phase = 2 * np.pi * cycles * (col * np.cos(angle) + row * np.sin(angle)) + 0.6 * noise(rng, size, 1.8)
    wave = (rng.uniform(0.04, 0.1) * np.sin(phase) + 0.03 * noise(rng, size, 0.7))[..., None]
    return _within(rgb(hue, rng.uniform(0.1, 0.3), rng.uniform(0.4, 0.65)) + wave)


def _gradient(rng: np.random.Generator, size: Size, hue: float) -> Pixels:
    """A wall and a floor: two gradients that meet at a horizon, with some grain."""
    row, _ = _axes(size)
    horizon = rng.uniform(0.25, 0.6)
    wall = rgb(hue, 0.15, 0.7) * (1 - 0.35 * row / horizon)[..., None]
    floor = rgb(hue + 0.08, 0.25, 0.55) * (0.6 + 0.4 * (row - horizon) / (1 - horizon))[..., None]
    grain = 0.03 * noise(rng, size, 0.6)[..., None]
    return _within(np.where((row < horizon)[..., None], wall, floor) + grain)


def _photograph(rng: np.random.Generator, size: Size, photos: Sequence[Pixels]) -> Pixels:
    """A part of a real photograph, out of focus and pale, so that the objects in front of it are what stands out."""
    from scipy.ndimage import gaussian_filter

    part = photo_patch(rng, size, photos, smallest=0.6)
    soft = gaussian_filter(part, (size[0] / 120, size[0] / 120, 0))
    return _within(0.5 + 0.6 * (soft - soft.mean()))


def photo_patch(rng: np.random.Generator, size: Size, photos: Sequence[Pixels], smallest: float) -> Pixels:
    """A random crop of a random photograph, `smallest`..1 of its height or width, perhaps mirrored, at `size`."""
    from PIL import Image

    photo = photos[int(rng.integers(len(photos)))]
    limit = min(photo.shape[0] / size[0], photo.shape[1] / size[1])
    scale = limit * rng.uniform(smallest, 1)
    height, width = int(size[0] * scale), int(size[1] * scale)
    top, left = rng.integers(photo.shape[0] - height + 1), rng.integers(photo.shape[1] - width + 1)
    crop = Image.fromarray((photo[top : top + height, left : left + width] * 255).astype(np.uint8))
    pixels = np.asarray(crop.resize(size[::-1], Image.Resampling.BILINEAR), np.float32) / 255
    return np.asarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels)


def _within(picture: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(picture, 0, 1), np.float32)


def _axes(size: Size) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Row and column of every pixel's centre, in heights of the image."""
    row, col = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return (row + 0.5) / size[0], (col + 0.5) / size[0]
