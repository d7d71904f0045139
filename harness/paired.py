"""Do two cells differ on the same images? Paired differences, their intervals, sign-flip permutation tests.

All pairs of a matrix are tested in the same resamples and the same sign flips. A pair's numbers then depend on the
seed and its own images only, neither on its order nor on the other cells; and since a resampled difference is a
difference of two resampled sums, most of what costs time grows with the number of cells, not of pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.statistics import LEVEL, RESAMPLES, alike, bootstrap_means, holm, percentiles

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Float, Int
    from numpy.typing import NDArray

    from harness.per_image import PerImage

Pair = tuple[int, int]

EXACT = 12
"""Up to so many images all 2^n sign flips are tried instead of a random few."""
FLIPS_PER_PAIR = 100
"""Holm multiplies the smallest of m p-values by m: 100 m flips let it come down to 0.01."""
ROUNDING = 1e-12
"""Relative to the sum of all scores: flipped sums closer to the observed one than this are tied with it."""
PLAIN = 100
"""So many flips as extreme as the observed order settle a p-value (to a tenth of itself); it gets no more flips."""
IN_VAIN = 1e-3
PAIRS_AT_A_TIME = 256
FLIPS_AT_A_TIME = 2**13
"""One pair's differences in so many flips stay in the processor's cache."""
BLOCK = 2**22
"""Flipped images, and flipped cells, in memory at a time."""


@dataclass(frozen=True)
class PairedTest:
    """Mean a - b over the `n` images scored by both, its 95 % interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int


def paired_difference(
    a: Float[NDArray[Any], " n"], b: Float[NDArray[Any], " n"], seed: int, *, flips: int = RESAMPLES
) -> PairedTest:
    """Percentile bootstrap and sign-flip permutation test of a - b (Fisher 1935; Efron & Tibshirani 1993, ch. 15).

    p = (1 + flips at least as extreme) / (1 + flips) (Phipson & Smyth 2010), exact for up to 12 images. A p-value that
    is plainly not small after 10,000, 100,000, ... of the flips is that of those (Besag & Clifford 1991).
    """
    return paired_tests(np.column_stack([a, b]), [(0, 1)], seed, flips=flips)[0]


def paired_tests(
    scores: Float[NDArray[Any], "n cells"], pairs: Sequence[Pair], seed: int, *, flips: int = RESAMPLES
) -> list[PairedTest]:
    """`paired_difference` of the columns of each pair."""
    scored = ~np.isnan(scores)
    found: dict[Pair, PairedTest] = {}
    for images, group in alike({(i, j): scored[:, i] & scored[:, j] for i, j in pairs}):
        columns, places = np.unique(np.array(group), return_inverse=True)
        values, ends = scores[np.ix_(images, columns)], places.reshape(-1, 2).T
        if len(values) == 0:
            found |= dict.fromkeys(group, PairedTest(np.nan, np.nan, np.nan, np.nan, 0))
            continue
        with np.errstate(invalid="ignore"):
            difference = (values[:, ends[0]] - values[:, ends[1]]).mean(axis=0)
            low, high = _intervals(values, ends, seed)
            p = _p_values(values, ends, seed, flips)
        for k, pair in enumerate(group):
            found[pair] = PairedTest(float(difference[k]), float(low[k]), float(high[k]), float(p[k]), len(values))
    return [found[pair] for pair in pairs]


def compare_cells(per_image: Mapping[str, PerImage], labels: Mapping[str, str], metric: str, seed: int) -> pd.DataFrame:
    """Every unordered pair of the cells of `labels` (key -> label, in that order) on one metric, Holm over all pairs.

    One row a pair: cell_a, cell_b, label_a, label_b, metric, difference (a - b), low, high, p_value, p_holm, n.
    """
    import pandas as pd

    keys = list(labels)
    pairs = list(itertools.combinations(range(len(keys)), 2))
    tests = []
    if pairs:
        flips = max(RESAMPLES, FLIPS_PER_PAIR * len(pairs))
        tests = paired_tests(_by_image([per_image[key] for key in keys], metric), pairs, seed, flips=flips)
    first, second = [keys[i] for i, _ in pairs], [keys[j] for _, j in pairs]
    p_values = np.array([test.p_value for test in tests])
    return pd.DataFrame(
        {
            "cell_a": first,
            "cell_b": second,
            "label_a": [labels[key] for key in first],
            "label_b": [labels[key] for key in second],
            "metric": metric,
            **{name: [getattr(test, name) for test in tests] for name in ("difference", "low", "high")},
            "p_value": p_values,
            "p_holm": holm(p_values),
            "n": [test.n for test in tests],
        }
    )


def _by_image(cells: Sequence[PerImage], metric: str) -> Float[NDArray[Any], "n cells"]:
    """A row for each image that some cell has, by ascending id; nan where a cell lacks it."""
    images = np.unique(np.concatenate([cell.ids for cell in cells]))
    scores = np.full((len(images), len(cells)), np.nan)
    for index, cell in enumerate(cells):
        if len(cell):
            scores[np.searchsorted(images, cell.ids), index] = cell.column(metric)
    return scores


def _intervals(
    values: Float[NDArray[Any], "n cells"], ends: Int[NDArray[Any], "2 pairs"], seed: int
) -> Float[NDArray[Any], "2 pairs"]:
    means = bootstrap_means(values, seed)
    starts = range(0, ends.shape[1], PAIRS_AT_A_TIME)
    some = (ends[:, start : start + PAIRS_AT_A_TIME] for start in starts)
    return np.concatenate([percentiles(means[:, a] - means[:, b], LEVEL) for a, b in some], axis=1)


def _p_values(
    values: Float[NDArray[Any], "n cells"], ends: Int[NDArray[Any], "2 pairs"], seed: int, flips: int
) -> Float[NDArray[Any], " pairs"]:
    """Pairs whose p-value is plain after some flips, and those whose flips would be in vain, get no more of them."""
    n = len(values)
    total = values.sum(axis=0)
    scale = ROUNDING * np.abs(values).sum(axis=0)
    observed = np.abs(total[ends[0]] - total[ends[1]]) - scale[ends[0]] - scale[ends[1]]
    if n <= EXACT:
        every = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(float)
        return np.where(np.isnan(observed), np.nan, _extreme(every, values, ends, observed) / 2**n)
    extreme, seen = np.zeros(ends.shape[1], dtype=np.int64), np.full(ends.shape[1], flips)
    going = np.flatnonzero(~np.isnan(observed) & ~_beyond_reach(values, ends, observed, flips))
    rng, done, stage = np.random.default_rng(seed), 0, min(RESAMPLES, flips)
    while done < flips and len(going):
        rows = min(max(1, BLOCK // max(values.shape)), FLIPS_AT_A_TIME, stage - done)
        extreme[going] += _extreme(_kept(n, rng, rows), values, ends[:, going], observed[going])
        done += rows
        if done == stage:
            seen[going[extreme[going] >= PLAIN]] = done
            going, stage = going[extreme[going] < PLAIN], min(10 * stage, flips)
    seen[going] = flips
    return np.where(np.isnan(observed), np.nan, (1 + extreme) / (1 + seen))


def _extreme(
    kept: Float[NDArray[Any], "k n"],
    values: Float[NDArray[Any], "n cells"],
    ends: Int[NDArray[Any], "2 pairs"],
    observed: Float[NDArray[Any], " pairs"],
) -> Int[NDArray[Any], " pairs"]:
    """How many of these flips are at least as extreme as what was observed, for each pair."""
    columns, places = np.unique(ends, return_inverse=True)
    some = values[:, columns].T
    flipped = 2 * (some @ kept.T) - some.sum(axis=1)[:, None]
    difference, counted = np.empty(len(kept)), np.empty(len(kept), dtype=bool)
    extreme = np.empty(len(observed), dtype=np.int64)
    for k, (a, b) in enumerate(places.reshape(ends.shape).T):
        np.subtract(flipped[a], flipped[b], out=difference)
        np.abs(difference, out=difference)
        np.greater_equal(difference, observed[k], out=counted)
        extreme[k] = np.count_nonzero(counted)
    return extreme


def _beyond_reach(
    values: Float[NDArray[Any], "n cells"],
    ends: Int[NDArray[Any], "2 pairs"],
    observed: Float[NDArray[Any], " pairs"],
    flips: int,
) -> Bool[NDArray[Any], " pairs"]:
    """Pairs so far apart that in all flips together less than IN_VAIN as extreme ones are expected.

    For signs e, P(sum e d >= x |d|) <= 3.178 P(Z >= x) (Bentkus & Dzindzalieta 2015, theorem 1.1), here on both sides.
    """
    from scipy.special import erfc

    # |d|^2 of a pair from the cells' products: the differences of all pairs would not fit into memory
    centred = values - values.mean(axis=1, keepdims=True)
    products = centred.T @ centred
    own = np.diag(products)
    both = own[ends[0]] + own[ends[1]]
    squares = np.maximum(both - 2 * products[ends[0], ends[1]], 0) + ROUNDING * both
    x = np.maximum(observed, 0) / np.sqrt(np.maximum(squares, np.finfo(float).tiny))
    return np.asarray(3.178 * erfc(x / math.sqrt(2)) * flips < IN_VAIN)


def _kept(n: int, rng: np.random.Generator, rows: int) -> Float[NDArray[Any], "rows n"]:
    """1 where an image's difference keeps its sign, 0 where it is flipped."""
    # whole 64-bit words a row, so that the flips do not depend on the size of the blocks
    words = rng.integers(2**64, size=(rows, -(-n // 64)), dtype=np.uint64)
    return np.unpackbits(words.view(np.uint8), axis=1, count=n).astype(float)
