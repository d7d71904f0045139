"""How sure a mean over images is: bootstrap intervals, shares of the explainable range, Holm's correction.

Images are the units that are resampled. A score that is nan is left out; everything random comes from a seed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from numpy.typing import ArrayLike, NDArray

K = TypeVar("K", bound=Hashable)
Interval = tuple[float, float]
Share = tuple[float, float, float]
"""(share, low, high)."""

LEVEL = 0.95
RESAMPLES = 10_000
"""At 95 % the ends of an interval then have a Monte Carlo error of about 1.4 % of its half width."""
BLOCK = 2**16
"""Resampled images in memory at a time: few enough for a core's cache, and for BLAS not to wake its threads."""


def seed_from(key: str, *parts: object) -> int:
    """64 bits of the sha256 of a cell's key and whatever else tells one use of it from another."""
    digest = hashlib.sha256("/".join(map(str, (key, *parts))).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def bootstrap_interval(
    values: Float[NDArray[Any], " n"], seed: int, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """(low, high) of the mean over images, percentile bootstrap (Efron & Tibshirani 1993, ch. 13).

    nan below two scored images, and where a score is infinite.
    """
    return intervals({"": values}, seed, level=level, resamples=resamples)[""]


def intervals(
    columns: Mapping[str, Float[NDArray[Any], " n"]], seed: int, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """`bootstrap_interval` of all metrics of a cell, those scored on the same images from the same resamples."""
    found: dict[str, Interval] = {}
    for scored, names in alike({name: ~np.isnan(column) for name, column in columns.items()}):
        values = np.column_stack([columns[name][scored] for name in names])
        low, high = percentiles(bootstrap_means(values, seed, resamples), level)
        found |= {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
    return {name: found[name] for name in columns}


def share_of_range(
    values: Float[NDArray[Any], " n"],
    floor: Float[NDArray[Any], " n"],
    ceiling: Float[NDArray[Any], " n"],
    seed: int,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Share:
    """(share, low, high) of (mean x - mean floor) / (mean ceiling - mean floor) over the images scored by all three.

    All three are resampled together. nan where the floor cannot be told from the ceiling: where the interval of
    their difference holds 0, the bootstrap of a ratio says nothing (Efron & Tibshirani 1993, ch. 25).
    """
    return shares({"": values}, {"": floor}, {"": ceiling}, seed, level=level, resamples=resamples)[""]


def shares(
    columns: Mapping[str, Float[NDArray[Any], " n"]],
    floor: Mapping[str, Float[NDArray[Any], " n"]],
    ceiling: Mapping[str, Float[NDArray[Any], " n"]],
    seed: int,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> dict[str, Share]:
    """`share_of_range` of all metrics of a cell; floor and ceiling have (at least) the same keys."""
    found: dict[str, Share] = {}
    three = {name: np.stack([columns[name], floor[name], ceiling[name]]) for name in columns}
    for scored, names in alike({name: ~np.isnan(rows).any(axis=0) for name, rows in three.items()}):
        x, low, high = np.stack([three[name][:, scored] for name in names], axis=-1)
        # both differences as one stack: equal columns then stay equal to the last bit, so a ceiling's share is 1
        above, across = bootstrap_means(np.stack([x - low, high - low]), seed, resamples)
        ends = percentiles(across, level)
        told_apart = ~((ends[0] <= 0) & (ends[1] >= 0)) & ~np.isnan(ends[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (x - low).sum(axis=0) / (high - low).sum(axis=0)
            all_three = np.where(told_apart, [share, *percentiles(above / across, level)], np.nan)
        found |= {name: (float(a), float(b), float(c)) for name, (a, b, c) in zip(names, all_three.T, strict=True)}
    return {name: found[name] for name in columns}


def holm(p_values: ArrayLike) -> Float[NDArray[Any], " n"]:
    """Holm's (1979) step-down adjusted p-values, in the given order; nan stays nan and is not counted."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    stepped = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def bootstrap_means(
    values: Float[NDArray[Any], "*stack n columns"], seed: int, resamples: int = RESAMPLES
) -> Float[NDArray[Any], "*stack resamples columns"]:
    """The columns' means in resamples of the n images, every column in the same resamples; nan for n < 2."""
    n = values.shape[-2]
    means = np.full((*values.shape[:-2], resamples, values.shape[-1]), np.nan)
    if n < 2:
        return means
    with np.errstate(invalid="ignore"):  # an infinite score leaves its column without a number
        centre = values.mean(axis=-2, keepdims=True)
        deviations = (values - centre) / n  # so that a constant column has constant means
        for rows, times in _times_drawn(n, seed, resamples):
            means[..., rows, :] = times @ deviations + centre
    return means


def percentiles(resampled: Float[NDArray[Any], "resamples columns"], level: float) -> Float[NDArray[Any], "2 columns"]:
    """The two ends that leave out (1 - level) / 2 of the resamples on either side."""
    return np.asarray(np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0))


def alike(masks: Mapping[K, Bool[NDArray[Any], " n"]]) -> Iterator[tuple[Bool[NDArray[Any], " n"], list[K]]]:
    """Each different mask with the keys that have it."""
    groups: dict[bytes, list[K]] = {}
    for key, mask in masks.items():
        groups.setdefault(mask.tobytes(), []).append(key)
    for keys in groups.values():
        yield masks[keys[0]], keys


def _times_drawn(n: int, seed: int, resamples: int) -> Iterator[tuple[slice, Float[NDArray[Any], "k n"]]]:
    """How often each of n images is drawn, for all resamples in blocks of rows."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // n)
    for start in range(0, resamples, block):
        k = min(block, resamples - start)
        # one histogram of k * n bins: 5 to 10 times as fast as rng.multinomial
        drawn = rng.integers(n, size=(k, n)) + n * np.arange(k)[:, None]
        times = np.bincount(drawn.ravel(), minlength=k * n).reshape(k, n)
        yield slice(start, start + k), times.astype(float)


def mean_of_scored(column: Float[NDArray[Any], " n"]) -> float:
    """The mean over the images that have a score; nan where none has."""
    scored = column[~np.isnan(column)]
    return float(scored.mean()) if len(scored) else math.nan
