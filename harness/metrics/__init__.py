"""Placeholder until the metrics land."""
from harness.metrics._maps import Density, FixationCounts

__all__ = ["Density", "FixationCounts"]
