"""Simulated observers: where each looks in a scene, by the model that harness.data.demo states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.data._scenes import Thing
from harness.types import Points, Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_OBSERVERS = 15
MEAN_FIXATIONS = 10.0
"""Of an observer on an image: 1 + Poisson(9)."""
ANYWHERE = 0.2
"""Share of the mixture that is uniform over the image."""
CENTRE_SIGMA = 0.2
"""Width of the centre bias, as a share of the image's height and width."""
PREFERENCE = 0.5
"""Spread of an observer's liking for an object (standard deviation of its logarithm)."""
SPREAD = 0.45
"""Standard deviation of gaze on an object, as a share of its half axes."""


def saliency(things: Sequence[Thing]) -> NDArray[np.float64]:
    """s_k = (0.15 + colour + orientation + size contrast with the other objects + 0.4 if a photograph)^2."""
    contrast = np.array([[_difference(a, b) for b in things] for a in things])
    mean = contrast.sum(axis=1) / max(len(things) - 1, 1)
    photo = np.array([thing.photo for thing in things])
    return np.asarray((0.15 + mean + 0.4 * photo) ** 2, np.float64)


def _difference(a: Thing, b: Thing) -> float:
    """The sum of three differences, each 0..1: hue on its circle, angle of elongated things, logarithm of area."""
    hue = abs((a.hue - b.hue + 0.5) % 1 - 0.5) * 2
    angle = abs(np.sin(a.angle - b.angle)) * np.sqrt(a.elongation * b.elongation)
    area = abs(np.log(a.long * a.short / (b.long * b.short))) / np.log(8)
    return float(hue + angle + min(area, 1))


def watch(rng: np.random.Generator, size: Size, things: Sequence[Thing]) -> Points:
    """The gaze of all observers on a scene, 0-based pixels, observers 0..14."""
    s = saliency(things)
    gaze = []
    for _ in range(N_OBSERVERS):
        liking = s * np.exp(PREFERENCE * rng.standard_normal(len(things)))
        n = 1 + rng.poisson(MEAN_FIXATIONS - 1)
        gaze.append(_sample(rng, int(n), size, things, liking / liking.sum()))
    points = np.concatenate(gaze).astype(np.int32)
    observer = np.repeat(np.arange(N_OBSERVERS, dtype=np.int32), [len(g) for g in gaze])
    return Points(points[:, 0], points[:, 1], observer)


def _sample(
    rng: np.random.Generator, n: int, size: Size, things: Sequence[Thing], share: NDArray[np.float64]
) -> NDArray[np.int64]:
    """n pixels from mixture x centre bias: draw from the mixture, keep with the probability of the centre bias."""
    accepted = np.empty((0, 2))
    while len(accepted) < n:
        drawn = _mixture(rng, 8 * n, size, things, share)
        off = (drawn - np.array(size) / 2) / (CENTRE_SIGMA * np.array(size))
        inside = ((drawn >= 0) & (drawn < np.array(size))).all(axis=1)
        keep = inside & (rng.random(len(drawn)) < np.exp(-0.5 * (off**2).sum(axis=1)))
        accepted = np.concatenate([accepted, drawn[keep]])
    return np.floor(accepted[:n]).astype(np.int64)


def _mixture(
    rng: np.random.Generator, n: int, size: Size, things: Sequence[Thing], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """n places (row, col) from ANYWHERE/area + (1 - ANYWHERE) sum_k share_k N(mu_k, Sigma_k)."""
    cos, sin = (np.array([f(t.angle) for t in things]) for f in (np.cos, np.sin))
    which = rng.choice(len(things), n, p=share)
    along, across = rng.standard_normal((2, n)) * SPREAD * np.array([(t.long, t.short) for t in things])[which].T
    row = np.array([t.row for t in things])[which] + along * sin[which] + across * cos[which]
    col = np.array([t.col for t in things])[which] + along * cos[which] - across * sin[which]
    anywhere = rng.random((n, 2)) * np.array(size)
    return np.where(rng.random((n, 1)) < ANYWHERE, anywhere, np.stack([row, col], axis=1))
