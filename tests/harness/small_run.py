"""A small real run on generated images, as its observers were told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import CellResult, RunRecord
from harness.run import run
from tests.harness.test_run import TINY

RECIPE: dict[str, Any] = {
    **TINY,
    "name": "small",
    "layers": ["stem", "layer1", ["stem", "layer1"]],
    "probes": [
        "ridge",
        {"name": "sgd", "epochs": 2, "layers": ["layer1"]},
        {"name": "sgd", "epochs": 1, "layers": ["stem"], "learning_rate": 1e30},
        "centre",
        "observers",
    ],
    "pictures": 4,
}
"""Two depths of a layer curve, training curves, an alpha path, a cell that fails, one that predicts no new image."""
FAILED = 1


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.record: RunRecord
        self.results: list[CellResult] = []

    def started(self, run: RunRecord) -> None:
        self.record = run

    def cell_ended(self, result: CellResult) -> None:
        self.results.append(result)

    def ended(self, status: str) -> None:
        pass


def small_run(out: Path, **changes: Any) -> Told:
    told = Told()
    run(make_plan(parse_recipe({**RECIPE, **changes})), out, Silent(), [told])
    return told
