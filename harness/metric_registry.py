"""The metrics by name: the built-in ones and those of other distributions, all found through entry points."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import Tensor

from harness.errors import PluginError
from harness.metrics import Metric
from harness.metrics._record import Need
from harness.registry import Registry


def _problem(plugin: Any) -> str | None:
    """Why `plugin` is not a metric, or None."""
    return None if isinstance(plugin, Metric) else "must be a harness.metrics.Metric: decorate the function"


METRICS: Registry[Metric] = Registry("metric", "salprobe.metrics", _problem)


def metric(
    name: str,
    *,
    higher_is_better: bool,
    bounds: tuple[float, float] = (float("-inf"), float("inf")),
    version: int = 1,
    scores: Literal["map", "log_density"] = "map",
    unit: str = "",
    reference: str = "",
) -> Callable[[Callable[..., Tensor]], Metric]:
    """Decorator: a function of maps (b, h, w) and what its other parameters are called becomes a metric.

    The parameters after the first are some of: density (Density), fixations, nonfixations (FixationCounts), baseline
    (log prior, (b, h, w)), generator. Returns one score an image, (b,); nan where there is none. Raise `version` when
    the numbers change.
    """

    def decorate(function: Callable[..., Tensor]) -> Metric:
        made = Metric(
            name=name,
            version=version,
            function=function,
            needs=_needs(function),
            higher_is_better=higher_is_better,
            bounds=bounds,
            reference=reference or (inspect.getdoc(function) or "").partition("\n")[0],
            unit=unit,
            scores=scores,
        )
        return METRICS.register(name, made)

    return decorate


def _needs(function: Callable[..., Tensor]) -> tuple[Need, ...]:
    """By the names of the parameters after the prediction; raises PluginError for an unknown one."""
    needs = list(inspect.signature(function).parameters)[1:]
    for need in needs:
        if need not in get_args(Need):
            raise PluginError(
                f"metric {function.__name__}: nothing is called {need!r}; after the prediction it may take "
                + ", ".join(get_args(Need))
            )
    return tuple(needs)  # type: ignore[arg-type]
