"""How a metric changes with the depth of the layer: a curve for every network and probe. Pure functions."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.results import interval_columns
from harness.tracking.record import SYNTHETIC, Point, as_tags, finite, shared_tags

if TYPE_CHECKING:
    from harness.results import CellResult, RunRecord

PREFIX, INTERVALS = "layer_curve/", "layer_curve_interval/"


@dataclass(frozen=True)
class LayerCurve:
    """The cells of one network and probe that read a single layer, shallow to deep."""

    backbone: str
    weights: str
    probe: str
    cells: tuple[CellResult, ...]

    @property
    def label(self) -> str:
        """How people name it."""
        return f"{self.backbone}/{self.weights} · layers · {self.probe}"

    def key(self, run: RunRecord) -> str:
        """The same for the same curve of the same matrix."""
        names = [run.matrix_id, self.backbone, self.weights, self.probe]
        return "curve-" + hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]

    def points(self) -> list[Point]:
        """Every metric and its interval; the step is the layer's depth."""
        found: list[Point] = []
        for cell in self.cells:
            assert cell.cell.depth is not None
            found += [(PREFIX + name, float(value), cell.cell.depth) for name, value in cell.metrics.items()]
            for metric, ends in cell.intervals.items():
                bounds = zip(interval_columns(metric), ends, strict=True)
                found += [(INTERVALS + name, float(value), cell.cell.depth) for name, value in bounds]
        return finite(found)[0]

    def tags(self, run: RunRecord) -> dict[str, str]:
        """As a cell's, with what its points are made of."""
        layers = {cell.cell.layer_set: cell.cell.depth for cell in self.cells}
        listed = "\n".join(f"- {depth}: {layer}" for layer, depth in layers.items())
        note = f"The step of `{PREFIX}...` is the depth of the layer, counted from 0:\n\n{listed}"
        return as_tags(
            {
                **shared_tags(run),
                "kind": "layer-curve",
                "cell_key": self.key(run),
                "backbone": self.backbone,
                "weights": self.weights,
                "layers": "curve",
                "probe": self.probe,
                "dataset": self.cells[0].cell.dataset,
                "status": "finished",
                "points": hashlib.sha256(json.dumps(self.points()).encode()).hexdigest()[:16],
                "mlflow.note.content": f"{SYNTHETIC}\n\n{note}" if run.dataset.get("synthetic") else note,
            }
        )


def layer_curves(results: Iterable[CellResult]) -> list[LayerCurve]:
    """One for every network and probe with two depths or more; of two layers of one depth the first stands for it."""
    found: dict[tuple[str, str, str], dict[int, CellResult]] = defaultdict(dict)
    for result in results:
        cell = result.cell
        if result.status == "finished" and cell.depth is not None:
            found[cell.backbone, result.weights, cell.probe_label].setdefault(cell.depth, result)
    curves = ((names, tuple(cells[depth] for depth in sorted(cells))) for names, cells in found.items())
    return [LayerCurve(*names, cells) for names, cells in curves if len(cells) > 1]
