"""What the harness knows of a metric beside its function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Need = Literal["density", "fixations", "nonfixations", "baseline", "generator"]


@dataclass(frozen=True)
class Metric:
    """A metric as data. `function` takes the prediction first, then what `needs` names, in that order.

    A generator is passed by keyword.
    """

    name: str
    version: int
    function: Callable[..., Tensor]
    needs: tuple[Need, ...]
    higher_is_better: bool
    bounds: tuple[float, float]
    reference: str
    unit: str = ""
    scores: Literal["map", "log_density"] = "map"
    """What the prediction must be: any map, or the natural logarithm of a density."""
    shares_ranks: bool = False
    """The function takes `ranks=rank(prediction, fixations)`, so that several metrics can share them."""
