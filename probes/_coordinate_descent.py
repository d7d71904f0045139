"""Coordinate descent on the Gram matrix (scikit-learn's), without the samples behind it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def descend(
    gram: Floats, right: Floats, spread: Floats, penalties: Sequence[float] | Floats, **how: Any
) -> tuple[Floats, int]:
    """(weights (a, p), how many fits ended before their tolerance): v'Gv / 2 - r'v and an elastic net's penalties.

    `how` goes to scikit-learn's `enet_path`. `spread` (1,) is the target's standard deviation: one stand-in sample
    carries its variance, which the stopping rule asks for.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import enet_path

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        _, weights, _ = enet_path(
            np.zeros((1, len(right)), order="F"),
            spread,
            alphas=np.asarray(penalties),
            precompute=gram,
            Xy=right,
            check_input=False,
            **how,
        )
    return weights.T.copy(), sum(issubclass(warning.category, ConvergenceWarning) for warning in caught)
