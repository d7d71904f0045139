"""What all figures share: size and type, and how one becomes SVG for a page and files on disk."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.files import make_folder, replace
from reports.palette import FAINT, GRID, INK

WIDTH = 7.6
"""Inches; a page shows it at its own size where there is room."""
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "svg.hashsalt": "salprobe",
    "text.parse_math": False,
}


_BREAK = "\v"
"""Where a name may be broken beside its blanks and hyphens, until it is drawn."""


@dataclass(frozen=True)
class Drawn:
    """A figure and what is said of it: a caption for all, `alt` with its numbers for those who cannot see it."""

    name: str
    figure: Figure
    caption: str
    alt: str
    table: list[list[str]] = field(default_factory=list)
    """Its numbers, where they deserve to be read one by one; the first row names the columns."""

    @cached_property
    def svg(self) -> str:
        """As SVG; the same figure is always the same text."""
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        self.figure.set_layout_engine("none")  # it is laid out: another format need not do it again
        # a reader without matplotlib's own font gets one as wide
        return buffer.getvalue().replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


@contextmanager
def style() -> Iterator[None]:
    """Within it figures look alike, and do not depend on the user's own matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]  # the stub lists every key
            yield


def canvas(rows: int = 1, columns: int = 1, *, height: float, **how: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` times `columns` panels, each `height` inches high, row by row."""
    figure = Figure(figsize=(WIDTH, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **how)
    return figure, [axis for row in axes for axis in row]


def panels(number: int, across: int, *, height: float, **how: Any) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, at most `across` beside each other; what would be empty of the last row is hidden."""
    columns = min(across, number)
    figure, axes = canvas(-(-number // columns), columns, height=height, **how)
    for axis in axes[number:]:
        axis.set_visible(False)
    return figure, axes[:number]


def legend_below(figure: Figure, handles: Sequence[Artist], most: int) -> None:
    """A legend under the panels, in as many columns as there is width for, at most `most`; longer names are wrapped."""
    names = [str(handle.get_label()) for handle in handles]
    columns = max(1, min(most, int(WIDTH / (0.07 * max(map(len, names), default=0) + 0.55))))
    labels = [wrapped(name, 1, _STYLE["legend.fontsize"]) for name in names] if columns == 1 else names
    figure.legend(handles=handles, labels=labels, loc="outside lower center", ncols=columns)


def wrapped(title: str, columns: int, size: float = _STYLE["axes.titlesize"]) -> str:
    """A panel's title in as many lines as it needs where so many panels lie beside each other; `size` in points."""
    letters = max(12, int((WIDTH / columns - 0.5) / (0.0092 * size)))
    breakable = re.sub(r"(?<=[+/])", _BREAK, title)
    lines = textwrap.wrap(breakable, letters, replace_whitespace=False)
    return "\n".join(line.replace(_BREAK, "") for line in lines) or title


def titled(axis: Axes, title: str, size: float = _STYLE["axes.titlesize"]) -> None:
    """Give a panel its title, wrapped to the panel's share of the figure."""
    place = axis.get_subplotspec()
    axis.set_title(wrapped(title, place.get_gridspec().ncols if place else 1, size), fontsize=size)


def key(label: str, colour: str, marker: str = "", line: str = "", *, hollow: bool = False, size: float = 5) -> Line2D:
    """An entry of a legend; a hollow marker is filled with white."""
    face = "white" if hollow else colour
    how: dict[str, Any] = {"linestyle": line, "marker": marker, "markerfacecolor": face, "markersize": size}
    return Line2D([], [], color=colour, label=label, **how)


def error_bars(values: Sequence[float], ends: Sequence[tuple[float, float]]) -> list[list[float]]:
    """Intervals as matplotlib takes them: how far below and above each value they reach."""
    low = [max(0.0, value - end) for value, (end, _) in zip(values, ends, strict=True)]
    return [low, [max(0.0, end - value) for value, (_, end) in zip(values, ends, strict=True)]]


def save(drawn: Drawn, folder: Path) -> list[Path]:
    """Write it as .svg and .png."""
    svg, png = (folder / f"{drawn.name}.{kind}" for kind in ("svg", "png"))
    make_folder(folder)
    replace(svg, drawn.svg.encode())
    save_png(drawn, folder)
    return [svg, png]


def save_png(drawn: Drawn, folder: Path) -> None:
    """Write it as .png alone."""
    buffer = io.BytesIO()
    drawn.figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    replace(folder / f"{drawn.name}.png", buffer.getvalue())


def inline(drawn: Drawn) -> str:
    """The <svg> element for a page: every id with the figure's name before it, labelled by `alt`."""
    svg = drawn.svg[drawn.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)  # would style the whole page
    svg = re.sub(r'\bid="', f'id="{_word(drawn.name)}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{_word(drawn.name)}-", svg)
    # within a page HTML knows the namespaces
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
    label = drawn.alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}" stroke-linejoin="round"', 1)


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)
