"""Curves in a readout's own account: what a stranger's probe wrote there may be anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def curve(info: Mapping[str, Any], name: str) -> list[float]:
    """The numbers of that entry, nan for a missing one; empty where it is no list of numbers."""
    values = info.get(name)
    if not isinstance(values, list | tuple):
        return []
    known = [math.nan if value is None else value for value in values]
    fine = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    return [float(value) for value in known] if fine else []
