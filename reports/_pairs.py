"""The paired tests of a results folder, in words and as seen from one cell."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from harness.errors import ResultsError
from harness.results import read_pairs

DIFFERENT = 0.05
"""Cells with a smaller p-value (Holm) are said to differ."""


def read_tests(folder: Path) -> list[dict[str, Any]]:
    """pairs.parquet as rows; none for a folder without it."""
    try:
        rows = read_pairs(folder).to_dict("records")
    except ResultsError:
        return []
    return [{str(name): value for name, value in row.items()} for row in rows]


def against(pairs: list[dict[str, Any]], key: str, metric: str | None) -> dict[str, dict[str, Any]]:
    """The tests on `metric` of that cell against each other one (key -> test), every difference that cell's surplus.

    Without those that have no interval.
    """
    found = {}
    for test in pairs:
        if not math.isnan(test["low"]) and test["metric"] == metric and key in (test["cell_a"], test["cell_b"]):
            seen = test if test["cell_a"] == key else _turned(test)
            found[seen["cell_b"]] = seen
    return found


def difference(test: dict[str, Any]) -> str:
    """ "+0.006 [−0.001, 0.013]"."""
    return f"{decimals(test['difference'], '+')} [{decimals(test['low'])}, {decimals(test['high'])}]"


def decimals(value: float, sign: str = "-") -> str:
    """Three decimals with a true minus."""
    return f"{value:{sign}.3f}".replace("-", "−")


def p_value(p: float) -> str:
    """ "= 0.080", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _turned(test: dict[str, Any]) -> dict[str, Any]:
    swapped = {
        "cell_a": test["cell_b"],
        "cell_b": test["cell_a"],
        "label_a": test["label_b"],
        "label_b": test["label_a"],
    }
    return {**test, **swapped, "difference": -test["difference"], "low": -test["high"], "high": -test["low"]}
