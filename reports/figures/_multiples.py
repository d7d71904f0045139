"""A panel for every network and probe, a colour and marker for every layer set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports._board import backbone
from reports.figures._drawing import key, panels, titled
from reports.palette import ordered
from reports.study import Row

MOST = 6
"""Panels."""
Group = tuple[str, str]
"""(network, probe)."""
Looks = dict[str, tuple[str, str]]
"""(colour, marker) by layer set."""


@dataclass(frozen=True)
class Multiples:
    """What was drawn, and what a legend must say."""

    figure: Figure
    handles: list[Line2D]
    rows: list[Row]
    """The cells that are shown."""
    left_out: int
    """Groups for which there was no panel."""


def small_multiples(
    rows: Sequence[Row], panel: Callable[[Axes, Group, Sequence[Row], Looks], None]
) -> Multiples | None:
    """Panels of the largest groups first; None without any row."""
    groups: dict[Group, list[Row]] = {}
    for row in rows:
        groups.setdefault((backbone(row), str(row["probe"])), []).append(row)
    shown = sorted(groups, key=lambda group: (-len(groups[group]), group[1], group[0]))[:MOST]
    if not shown:
        return None
    figure, axes = panels(len(shown), 2, height=2.6 if len(shown) > 2 else 3.2)
    looks = ordered(str(row["layers"]) for row in rows)
    for axis, group in zip(axes, shown, strict=True):
        panel(axis, group, groups[group], looks)
        titled(axis, " · ".join(group))
    handles = [key(layers, colour, marker, "-") for layers, (colour, marker) in looks.items()]
    return Multiples(figure, handles, [row for group in shown for row in groups[group]], len(groups) - len(shown))
