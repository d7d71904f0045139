"""Gives the cells of a run their intervals and shares of the explainable range, and tests them against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.metrics import Metric
from harness.paired import compare_cells
from harness.statistics import Share, intervals, mean_of_scored, seed_from, shares

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from harness.results import CellResult

    Columns = dict[str, NDArray[Any]]

Scores = dict[int, dict[str, float]]
"""Image id -> metric -> score."""


@dataclass
class Uncertainty:
    """Told of a run's cells as they end. `data` names the held-out images (their digest)."""

    metrics: Sequence[Metric]
    data: str
    _finished: list[CellResult] = field(default_factory=list)
    _bounds: dict[str, Scores] = field(default_factory=dict)
    """The per-image scores of the run's first floor and first ceiling, once they are known."""

    def add(self, ended: Sequence[CellResult]) -> None:
        """Fill in `intervals` and `shares` of the finished cells; their floor and ceiling come with or before them."""
        finished = [result for result in ended if result.status == "finished"]
        self._finished += finished
        for result in finished:
            bound = result.cell.probe.bound
            if bound is not None:
                self._bounds.setdefault(bound, _scores(result))
        for result in finished:
            scores = _scores(result)
            columns, seed = self._columns(scores, list(scores)), seed_from(result.key, "images")
            found = intervals(columns, seed)
            result.intervals = {name: ends for name, ends in found.items() if not np.isnan(ends[0])}
            result.shares = self._shares(columns, list(scores), seed)

    def pairs(self, metric: str) -> pd.DataFrame:
        """Every pair of the finished cells on one metric, as `compare_cells` gives it."""
        import pandas as pd

        rows = [{"cell_key": cell.key, **row} for cell in self._finished for row in cell.per_image]
        labels = {cell.key: cell.label for cell in self._finished}
        return compare_cells(pd.DataFrame(rows), labels, metric, seed_from(self.data, "pairs", metric))

    def _shares(self, columns: Columns, images: Sequence[int], seed: int) -> dict[str, Share]:
        """Of the metrics on which the ceiling is better than the floor; elsewhere there is no range to explain."""
        if len(self._bounds) < 2:
            return {}
        floor, ceiling = (self._columns(self._bounds[bound], images) for bound in ("floor", "ceiling"))
        for metric in self.metrics:
            rises = mean_of_scored(ceiling[metric.name]) > mean_of_scored(floor[metric.name])
            if rises != metric.higher_is_better:
                columns = {name: column for name, column in columns.items() if name != metric.name}
        found = shares(columns, floor, ceiling, seed)
        return {name: share for name, share in found.items() if not np.isnan(share[0])}

    def _columns(self, scores: Scores, images: Sequence[int]) -> Columns:
        """Each metric's scores of these images; nan where an image has none."""
        missing: dict[str, float] = {}
        return {
            metric.name: np.array([scores.get(image, missing).get(metric.name, np.nan) for image in images])
            for metric in self.metrics
        }


def _scores(result: CellResult) -> Scores:
    return {row["image_id"]: row for row in result.per_image}
