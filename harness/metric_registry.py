"""The metrics by name: the built-in ones and those of other distributions, all found through entry points."""

from __future__ import annotations

from typing import Any

from harness.metrics import Metric
from harness.registry import Registry


def _problem(plugin: Any) -> str | None:
    """Why `plugin` is not a metric, or None."""
    return None if isinstance(plugin, Metric) else "must be a harness.metrics.Metric"


METRICS: Registry[Metric] = Registry("metric", "salprobe.metrics", _problem)
