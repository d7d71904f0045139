"""Which way a metric ranks, for readers of results: its plugin need not be installed here, nor torch be loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from harness.errors import SalprobeError

LOWER = "lower_is_better"
"""Where a run says of which of its metrics that is so."""


def lower_ones(metrics: Iterable[str]) -> tuple[str, ...]:
    """Those of which lower is better, in a process that has them all."""
    return tuple(metric for metric in metrics if not higher_is_better(metric))


def higher_is_better(metric: str, lower: Collection[str] = ()) -> bool:
    """As the metric says; of one that is not installed here, unless it is among those of which the run said `lower`."""
    if metric == "cc":
        return True
    from harness.metric_registry import METRICS

    try:
        return METRICS.get(metric).higher_is_better
    except SalprobeError:  # a plugin's metric, in a command that was not told its file
        return metric not in lower
