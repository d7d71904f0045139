"""Gives the cells of a run their intervals and shares of the explainable range, and tests them against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.cells import NO_BACKBONE
from harness.metrics import Metric
from harness.paired import compare_cells
from harness.statistics import Share, intervals, mean_of_scored, seed_from, shares

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from harness.per_image import PerImage
    from harness.results import CellResult

    Columns = dict[str, NDArray[Any]]


@dataclass
class Uncertainty:
    """Told of a run's cells as they end. `data` names the held-out images (their digest)."""

    metrics: Sequence[Metric]
    data: str
    _finished: list[CellResult] = field(default_factory=list)
    _bounds: dict[str, PerImage] = field(default_factory=dict)
    """The per-image scores of the run's first floor and first ceiling, once they are known."""

    def add(self, ended: Sequence[CellResult]) -> None:
        """Fill in `intervals` and `shares` of the finished cells; their floor and ceiling come with or before them."""
        finished = [result for result in ended if result.status == "finished"]
        self._finished += finished
        for result in finished:
            bound = result.cell.bound
            if bound is not None:
                self._bounds.setdefault(bound, result.per_image)
        for result in finished:
            images, seed = result.per_image.ids, seed_from(result.key, "images")
            columns = self._columns(result.per_image, images)
            found = intervals(columns, seed)
            result.intervals = {name: ends for name, ends in found.items() if not np.isnan(ends[0])}
            result.shares = self._shares(columns, images, seed)

    def pairs(self, metric: str) -> pd.DataFrame:
        """Every pair of the finished cells on one metric, as `compare_cells` gives it."""
        per_image = {cell.key: cell.per_image for cell in self._finished}
        labels = {cell.key: cell.label for cell in self._finished}
        return compare_cells(per_image, labels, metric, seed_from(self.data, "pairs", metric))

    def best(self, metric: Metric) -> CellResult | None:
        """The finished cell with a network whose mean is best; None where no such cell has one."""
        rivals = [r for r in self._finished if r.cell.backbone != NO_BACKBONE and np.isfinite(r.metrics[metric.name])]
        sign = 1 if metric.higher_is_better else -1
        return max(rivals, key=lambda result: sign * result.metrics[metric.name], default=None)

    def _shares(self, columns: Columns, images: NDArray[np.int64], seed: int) -> dict[str, Share]:
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

    def _columns(self, scores: PerImage, images: NDArray[np.int64]) -> Columns:
        """Each metric's scores of these images; nan where an image has none."""
        # one more place, of nan, for what was not scored
        place = {image: index for index, image in enumerate(scores.ids.tolist())}
        found = np.array([place.get(image, len(place)) for image in images.tolist()], dtype=np.int64)
        missing = np.full(len(place) + 1, np.nan)
        return {
            metric.name: np.append(scores.column(metric.name), np.nan)[found]
            if metric.name in scores.metrics
            else missing[found]
            for metric in self.metrics
        }
