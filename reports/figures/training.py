"""The loss of heads trained by gradient descent, over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from harness.curves import curve
from reports._board import label
from reports.figures._drawing import Drawn
from reports.figures._multiples import Group, Looks, small_multiples
from reports.study import Row, Study, by_depth

STEPS = 80
"""Points of one step curve, each the mean of some steps."""


def training(study: Study) -> Drawn | None:
    """None where nothing was trained by gradient descent."""
    rows = [row for row in by_depth(study.networks) if curve(study.info(row), "epoch_loss")]
    drawn = small_multiples(rows, partial(_panel, study))
    if drawn is None:
        return None
    drawn.figure.legend(handles=drawn.handles, loc="outside lower center", ncols=6)
    left_out = f" {drawn.left_out} further groups of cells are not shown." if drawn.left_out else ""
    caption = "Markers: mean loss of an epoch on the training images. Thin lines: single steps, averaged over a few."
    return Drawn("training", drawn.figure, caption + left_out, _alt(study, drawn.rows))


def _panel(study: Study, axis: Axes, group: Group, rows: Sequence[Row], looks: Looks) -> None:
    tail = []
    for row in rows:
        info = study.info(row)
        colour, marker = looks[str(row["layers"])]
        epochs = np.array(curve(info, "epoch_loss"))
        axis.plot(np.arange(len(epochs)) + 0.5, epochs, color=colour, marker=marker, markersize=4)
        steps = np.array(curve(info, "step_loss"))
        if len(steps):
            means = np.array([part.mean() for part in np.array_split(steps, min(STEPS, len(steps)))])
            x = (np.arange(len(means)) + 0.5) / len(means) * len(epochs)
            axis.plot(x, means, color=colour, linewidth=0.7, alpha=0.55)
            tail += means[len(means) // 10 :].tolist()
        tail += epochs.tolist()
    finite = [value for value in tail if np.isfinite(value)]
    if finite:  # the first steps from zero weights would flatten everything after them
        margin = 0.04 * (max(finite) - min(finite) or 1)
        axis.set_ylim(min(finite) - margin, max(finite) + margin)
    axis.set_xlabel("epochs")
    axis.set_ylabel(f"{study.info(rows[0]).get('loss', '')} loss")


def _alt(study: Study, rows: Sequence[Row]) -> str:
    words = []
    for row in rows:
        epochs = curve(study.info(row), "epoch_loss")
        words.append(f"{label(row)} from {epochs[0]:.4g} to {epochs[-1]:.4g} in {len(epochs)} epochs")
    return "Training losses. " + "; ".join(words) + "."
