"""Which way a metric ranks, for readers of results: its plugin need not be installed here, nor torch be loaded."""

from __future__ import annotations

from harness.errors import SalprobeError


def higher_is_better(metric: str) -> bool:
    """As the metric says; True for one that is not installed here."""
    if metric == "cc":
        return True
    from harness.metric_registry import METRICS

    try:
        return METRICS.get(metric).higher_is_better
    except SalprobeError:  # a plugin's metric, in a command that was not told its file
        return True
