"""Do known predictors get the scores that theory demands? Compares a finished `self-check` image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.errors import ResultsError
from harness.results import read_cells, read_per_image

ROUNDING = 1e-5
"""Of scores that are sums over float32 maps: NSS of the density is about 5."""
EXACT = 1e-12
"""Of scores that are counts."""
ORACLE = "oracle-{} (not a model)"
Scores = Mapping[str, pd.DataFrame]
"""By a predictor's short name: a row an image, a column a metric."""
PREDICTORS = {kind: ORACLE.format(kind) for kind in ("density", "inverted", "fixations")} | {
    name: name for name in ("uniform", "centre", "observers")
}


@dataclass(frozen=True)
class Demand:
    """What theory demands of one predictor's scores on every image: `off` is by how much they miss it (b,)."""

    predictor: str
    metric: str
    words: str
    off: Callable[[Scores], pd.Series]
    tolerance: float


@dataclass(frozen=True)
class Verdict:
    """A demand and what was found."""

    demand: Demand
    mean: float
    """Of the predictor's scores."""
    off: float
    """The largest miss of all images; nan where an image has no score."""
    images: int

    @property
    def kept(self) -> bool:
        """Whether every image is within the tolerance."""
        return self.images > 0 and self.off <= self.demand.tolerance


def _equal(predictor: str, metric: str, value: float, tolerance: float, words: str = "") -> Demand:
    return Demand(predictor, metric, words or f"= {value:g}", lambda s: (s[predictor][metric] - value).abs(), tolerance)


def _mirrored(metric: str, total: float, tolerance: float) -> Demand:
    """inverted + density = total."""
    words = f"= {total:g} − density's" if total else "= − density's"
    return Demand(
        "inverted", metric, words, lambda s: (s["inverted"][metric] + s["density"][metric] - total).abs(), tolerance
    )


def _most(metric: str, words: str) -> Demand:
    """No other predictor scores higher on any image; the observers are scored against other gaze."""

    def off(scores: Scores) -> pd.Series:
        rivals = [frame[metric] for name, frame in scores.items() if name not in ("fixations", "observers")]
        return (pd.concat(rivals, axis=1).max(axis=1) - scores["fixations"][metric]).clip(lower=0)

    return Demand("fixations", metric, words, off, ROUNDING)


def _above(predictor: str, metric: str, other: str) -> Demand:
    """On the mean over images: single ones may differ."""

    def off(scores: Scores) -> pd.Series:
        return pd.Series([max(0.0, scores[other][metric].mean() - scores[predictor][metric].mean())])

    return Demand(predictor, metric, f"not below {other}", off, ROUNDING)


DEMANDS: tuple[Demand, ...] = (
    _equal("density", "cc", 1, ROUNDING),
    _equal("density", "sim", 1, ROUNDING),
    _equal("density", "kld", 0, ROUNDING),
    _equal("inverted", "cc", -1, ROUNDING),
    _mirrored("nss", 0, ROUNDING),
    _mirrored("auc", 1, EXACT),
    # (not auc_judd: its trapezoids stand on the values of fixated pixels only, and are other ones upside down)
    _mirrored("sauc", 1, EXACT),
    # calibration may turn a map over: the negative of a map holds the same information
    Demand("inverted", "ig", "= density's", lambda s: (s["inverted"]["ig"] - s["density"]["ig"]).abs(), 1e-3),
    _most("auc", "the most there is"),
    _most("nss", "the most there is"),
    _equal("fixations", "auc_judd", 1, EXACT, "= 1, the most there is"),
    _equal("uniform", "cc", 0, EXACT),
    _equal("uniform", "nss", 0, EXACT),
    _equal("uniform", "auc", 0.5, EXACT),
    _equal("uniform", "auc_judd", 0.5, EXACT),
    _equal("uniform", "sauc", 0.5, EXACT),
    *(_above("density", metric, "centre") for metric in ("cc", "auc", "nss", "sauc", "ig")),
    # a constant map becomes the training images' prior, which cannot beat the map that knows
    _above("density", "ig", "uniform"),
)


def verdicts(folder: Path) -> list[Verdict]:
    """Every demand on the metrics that the run has; raises ResultsError for a folder that is no self-check."""
    cells, rows = read_cells(folder), read_per_image(folder)
    keys = cells[cells.status == "finished"].drop_duplicates("probe").set_index("probe").cell_key
    missing = [probe for probe in PREDICTORS.values() if probe not in keys]
    if missing:
        raise ResultsError(f"{folder} is no finished self-check: it lacks {', '.join(missing)}")
    by_cell = dict(iter(rows.set_index("image_id").sort_index().groupby("cell_key")))
    scores = {name: by_cell[keys[probe]] for name, probe in PREDICTORS.items()}
    known = [demand for demand in DEMANDS if demand.metric in rows.columns]
    return [_judged(demand, scores) for demand in known]


def _judged(demand: Demand, scores: Scores) -> Verdict:
    off = demand.off(scores)
    without_gaze = pd.concat([frame[demand.metric] for frame in scores.values()], axis=1).isna().all(axis=1)
    off = off[~without_gaze.reindex(off.index, fill_value=False)]  # nobody can have a score there
    largest = float(np.max(off.to_numpy())) if len(off) else float("nan")
    return Verdict(demand, float(scores[demand.predictor][demand.metric].mean()), largest, len(off))


def print_verdict(folder: Path, console: Console | None = None) -> int:
    """Print a line a demand; returns how many scores are off."""
    found = verdicts(folder)
    console = console or Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="What theory demands", title_justify="left")
    for name in ("predictor", "metric", "must be", "mean", "off by", ""):
        table.add_column(name, justify="right" if name in ("mean", "off by") else "left", no_wrap=True)
    for line in _lines(found):
        table.add_row(*line)
    console.print(table)
    wrong = [verdict for verdict in found if not verdict.kept]
    for verdict in wrong:
        demand = verdict.demand
        words = f"{demand.metric} of {demand.predictor} must be {demand.words}"
        console.print(f"[red]off[/] {escape(words)}: misses it by {verdict.off:.3g} (more than {demand.tolerance:g})")
    kept = f"{len(found) - len(wrong)} of {len(found)} demands are met"
    console.print(kept + ("" if wrong else ": the scores can be trusted this far"), highlight=False)
    return len(wrong)


def _lines(found: list[Verdict]) -> Iterator[tuple[str, ...]]:
    for verdict in found:
        demand = verdict.demand
        said = "[green]ok[/]" if verdict.kept else "[red]OFF[/]"
        mean = round(verdict.mean, 4) + 0.0  # never -0
        yield demand.predictor, demand.metric, demand.words, f"{mean:.4f}", f"{verdict.off:.1e}", said
