"""Colours that colour-blind readers tell apart, and never a colour alone: every line has a marker, too."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib

LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito (2008), strongest contrast on white first."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PRETRAINED, UNTRAINED, LOW_LEVEL = "#0072B2", "#E69F00", "#6b6b6b"
FLOOR, CEILING = "#6b6b6b", "#117733"
INK, FAINT, GRID, WARNING = "#1a1a1a", "#595959", "#e3e3e3", "#a33b00"


def styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) by name, in the order of first appearance."""
    distinct = dict.fromkeys(names)
    return {name: (LINES[i % len(LINES)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(distinct)}


def ordered(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) by name along viridis, for what has an order, such as layers by depth."""
    distinct = list(dict.fromkeys(names))
    last = max(1, len(distinct) - 1)
    shades = (matplotlib.colormaps["viridis"](0.88 * i / last) for i in range(len(distinct)))
    colours = [matplotlib.colors.to_hex(shade) for shade in shades]
    return {name: (colours[i], MARKERS[i % len(MARKERS)]) for i, name in enumerate(distinct)}


def inferno(stops: int = 11) -> list[str]:
    """The maps' colour scale from the smallest to the largest value."""
    scale = matplotlib.colormaps["inferno"]
    return [matplotlib.colors.to_hex(scale(i / (stops - 1))) for i in range(stops)]
