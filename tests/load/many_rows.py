"""A finished matrix of any size without a network: per-image scores drawn at random go the whole road from there on."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from harness.cells import NO_BACKBONE, Cell
from harness.metric_registry import METRICS
from harness.recipe import parse_recipe
from harness.results import CellResult, ResultsFolder
from harness.uncertainty import Uncertainty
from reports.report import write_report
from reports.terminal import print_leaderboard
from tests.reports.conftest import Ceiling, Dummy, Floor

SCORED = ("cc", "auc", "nss", "sim", "kld", "ig", "sauc", "auc_judd")


def made(cells: int, images: int) -> list[CellResult]:
    """A floor, a ceiling, and cells of ten networks and many layers, of which many differ plainly and some hardly."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 0.1, (images, 1))
    ended = []
    for number in range(cells):
        bound = (Floor(), Ceiling())[number] if number < 2 else Dummy()
        network = f"net{number % 10}" if number >= 2 else NO_BACKBONE
        layers, depth = (f"layer{number // 10}", number // 10) if number >= 2 else (NO_BACKBONE, None)
        probe = ("centre", "observers")[number] if number < 2 else "ridge"
        cell = Cell("osie640 (eye)", network, "caffe", layers, (), probe, bound, 0, depth=depth)
        result = CellResult(cell, f"{number:016x}", {"probe": probe}, "finished", None, "caffe")
        mean = (0.3, 0.9)[number] if number < 2 else 0.4 + 0.4 * number / cells
        columns = mean + difficulty + rng.normal(0, 0.1, (images, len(SCORED)))
        scores = {name: columns[:, i].tolist() for i, name in enumerate(SCORED)}
        result.per_image.append(list(range(images)), scores, [""] * images)
        result.metrics = {name: float(columns[:, i].mean()) for i, name in enumerate(SCORED)}
        result.n_images, result.seconds = images, {"fit": 0.4, "score": 3.0}
        if number >= 2:
            result.info = {"alpha": 1.0, "alphas": [0.1, 1.0, 10.0], "cv_error": [2.0, 1.0, 1.5]}
        ended.append(result)
    return ended


def timed(folder: Path, cells: int, images: int, *, report: bool = True) -> dict[str, float]:
    """Seconds of this process by step: statistics, rows, pairs, terminal, report."""
    seconds: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        found = work()
        seconds[name] = time.process_time() - start
        return found

    ended = made(cells, images)
    results = ResultsFolder(folder)
    results.write_recipe(parse_recipe({"name": "many", "dataset": "salicon", "probes": ["ridge"]}))
    uncertainty = Uncertainty([METRICS.get(name) for name in SCORED], "digest")
    step("intervals, shares", lambda: uncertainty.add(ended))

    def write() -> None:
        for result in ended:
            own = results.open_cell(result, None)
            (own / "readout.json").write_text(json.dumps({"info": result.info}))
            results.add(result)
        results.flush()

    step("rows to disk", write)
    step("pairs", lambda: results.write_pairs(uncertainty.pairs("cc")))
    console = Console(file=io.StringIO(), width=100)
    step("terminal", lambda: print_leaderboard(folder, console))
    if report:
        step("report", lambda: write_report([folder], folder.parent / "report"))
    return seconds
