"""The cross-validated error of ridge readouts over their penalty, and the penalty that was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from harness.curves import curve
from reports._board import label
from reports.figures._drawing import Drawn, key
from reports.figures._multiples import Group, Looks, small_multiples
from reports.palette import INK, WARNING
from reports.study import Row, Study, by_depth

CEILING = 1.6
"""Errors above so many times the smallest are cut off, so that the minima can be told apart."""
FEW_DECADES = 100
"""Grids that span less are labelled penalty by penalty."""
Path = tuple[list[float], list[float], float]
"""(alphas, error over its smallest value, the alpha chosen)."""


def alphas(study: Study) -> Drawn | None:
    """None where no penalty was chosen among several."""
    rows = [row for row in by_depth(study.networks) if _path(study.info(row))]
    drawn = small_multiples(rows, partial(_panel, study))
    if drawn is None:
        return None
    handles = drawn.handles
    handles.append(key("chosen", INK, "o", hollow=True, size=10))
    if any(_at_edge(study, row) for row in rows):
        handles.append(key("chosen at the edge of the grid", WARNING, "o", hollow=True, size=10))
    drawn.figure.legend(handles=handles, loc="outside lower center", ncols=5)
    caption = (
        "Squared error on training images left out in cross-validation, relative to each curve's smallest; rings mark "
        "the chosen penalty. A ring at the edge of the grid means that a wider grid might do better."
    )
    return Drawn("alphas", drawn.figure, caption, _alt(study, drawn.rows))


def _path(info: dict[str, Any]) -> Path | None:
    chosen, path = info.get("alpha"), zip(curve(info, "alphas"), curve(info, "cv_error"), strict=False)
    known = [(a, e) for a, e in path if a > 0 and np.isfinite(e)]
    if not isinstance(chosen, int | float) or len(known) < 2:
        return None
    smallest = min(e for _, e in known) or 1.0
    return [a for a, _ in known], [e / smallest for _, e in known], float(chosen)


def _panel(study: Study, axis: Axes, group: Group, rows: Sequence[Row], looks: Looks) -> None:
    highest = 1.0
    for row in rows:
        path = _path(study.info(row))
        if path is None:
            continue
        grid, errors, chosen = path
        colour, marker = looks[str(row["layers"])]
        axis.plot(grid, errors, color=colour, marker=marker, markersize=4)
        highest = max(highest, *errors)
        if chosen in grid:
            edge = WARNING if _at_edge(study, row) else INK
            axis.plot([chosen], [errors[grid.index(chosen)]], "o", markersize=10, markerfacecolor="none", color=edge)
    axis.set_xscale("log")
    tried = sorted({alpha for row in rows for alpha in (_path(study.info(row)) or ([],))[0]})
    if tried and tried[-1] < FEW_DECADES * tried[0]:  # decades alone would leave an axis without numbers
        axis.xaxis.set_major_locator(FixedLocator(tried))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    top = min(highest, CEILING)
    margin = 0.06 * (top - 1 or 0.01)
    axis.set_ylim(1 - margin, top + margin)
    axis.set_xlabel("alpha")
    axis.set_ylabel("error / its smallest")


def _at_edge(study: Study, row: Row) -> bool:
    info = study.info(row)
    ends = (min(tried := curve(info, "alphas")), max(tried)) if _path(info) else ()
    return info.get("alpha") in ends


def _alt(study: Study, rows: Sequence[Row]) -> str:
    words = (f"{label(row)} {study.info(row)['alpha']:g}{' (at the edge)' * _at_edge(study, row)}" for row in rows)
    return "Cross-validation error over alpha. Chosen: " + "; ".join(words) + "."
