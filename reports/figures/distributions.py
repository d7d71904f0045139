"""How the scores of single images are spread, a histogram a metric: the best cell between floor and ceiling."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports._board import label
from reports.comparisons import scores_of
from reports.figures._drawing import Drawn, key, legend_below, panels
from reports.palette import CEILING, FLOOR, PRETRAINED
from reports.study import Row, Study

BINS = 24
CLIP = (0.5, 99.5)
"""Percentiles between which the bins lie: a few extreme images would leave no room for the others."""

LOOKS = {"floor": (FLOOR, "--"), "ceiling": (CEILING, "-")}
"""(colour, line) of the outlines."""


def distributions(study: Study) -> Drawn | None:
    """None where no score of a single image is known."""
    best = study.best
    metrics = [metric for metric in study.board.metrics if best and len(scores_of(study, best, metric)) > 1]
    if best is None or not metrics:
        return None
    bounds = {which: row for which in ("floor", "ceiling") if (row := study.bound(which)) and row is not best}
    figure, axes = panels(len(metrics), 4, height=1.95)
    for axis, metric in zip(axes, metrics, strict=True):
        _histogram(axis, study, metric, best, bounds)
    figure.supylabel("images", fontsize=9)
    legend_below(figure, _legend(best, bounds), 3)
    caption = (
        "Scores of single images: filled, the best cell; outlines, floor and ceiling. The upright line is the best "
        "cell's mean. The outermost half per cent at either end lies in the last bin."
    )
    return Drawn("distributions", figure, caption, _alt(study, metrics, best, bounds))


def _histogram(axis: Axes, study: Study, metric: str, best: Row, bounds: dict[str, Row]) -> None:
    own = np.array(list(scores_of(study, best, metric).values()))
    others = {which: np.array(list(scores_of(study, row, metric).values())) for which, row in bounds.items()}
    every = np.concatenate([own, *others.values()])
    low, high = np.percentile(every, CLIP)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1).tolist()
    axis.hist(np.clip(own, edges[0], edges[-1]), edges, color=PRETRAINED, alpha=0.45)
    axis.axvline(own.mean(), color=PRETRAINED, linewidth=1.6)
    for which, values in others.items():
        colour, dash = LOOKS[which]
        clipped = np.clip(values, edges[0], edges[-1])
        axis.hist(clipped, edges, histtype="step", color=colour, linestyle=dash, linewidth=1.2)
    axis.set_title(metric.upper())
    axis.grid(visible=False, axis="x")


def _legend(best: Row, bounds: dict[str, Row]) -> list[Patch | Line2D]:
    outlines = [key(f"{which}: {row['probe']}", LOOKS[which][0], line=LOOKS[which][1]) for which, row in bounds.items()]
    return [Patch(color=PRETRAINED, alpha=0.45, label=label(best)), *outlines]


def _alt(study: Study, metrics: list[str], best: Row, bounds: dict[str, Row]) -> str:
    words = []
    for metric in metrics:
        parts = []
        for row in (best, *bounds.values()):
            values = list(scores_of(study, row, metric).values())
            if values:
                quarter, half, last = np.percentile(values, (25, 50, 75))
                parts.append(f"{label(row)} median {half:.3f}, half of the images from {quarter:.3f} to {last:.3f}")
        words.append(f"{metric}: " + ", ".join(parts))
    return "Histograms of the images' scores. " + "; ".join(words) + "."
