"""Where the time went: passes that all cells of a network share, and what each cell took for itself."""

from __future__ import annotations

from collections.abc import Sequence

from reports._board import SHARED, backbone, shared_passes
from reports.figures._drawing import Drawn, canvas
from reports.palette import LINES
from reports.study import Row, Study

WITHOUT = "without a network"
HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "--")


def time(study: Study) -> Drawn | None:
    """None where no time is known."""
    bars = {name: phases for name, phases in _bars(study.board.finished).items() if sum(phases.values()) > 0}
    if not bars:
        return None
    figure, (axis,) = canvas(1, 1, height=0.9 + 0.42 * len(bars))
    names = list(dict.fromkeys(phase for phases in bars.values() for phase in phases))
    left = dict.fromkeys(bars, 0.0)
    for n, phase in enumerate(names):
        widths = [phases.get(phase, 0.0) for phases in bars.values()]
        colour, hatch = LINES[n % len(LINES)], HATCHES[n // len(LINES) % len(HATCHES)]
        axis.barh(
            list(bars), widths, left=list(left.values()), color=colour, hatch=hatch, label=phase, edgecolor="white"
        )
        left = {bar: left[bar] + width for bar, width in zip(bars, widths, strict=True)}
    for y, total in enumerate(left.values()):
        axis.annotate(f"{total:.1f} s", (total, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axis.margins(x=0.1)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("seconds")
    figure.legend(loc="outside lower center", ncols=5)
    caption = (
        "Time by phase: passes through a network feed all of its cells at once; own is what cells took for themselves."
    )
    words = (
        f"{bar}: " + ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in phases.items() if seconds >= 0.05)
        for bar, phases in bars.items()
    )
    return Drawn("time", figure, caption, "Stacked bars of seconds. " + "; ".join(words) + ".")


def _bars(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Seconds by bar and phase; cells that were computed together carry the same shared seconds."""
    bars: dict[str, dict[str, float]] = {}
    passes = shared_passes(rows)
    for row in rows:
        network = backbone(row) or WITHOUT
        shared = bars.setdefault(f"{network}, shared passes", {})
        number = sum((backbone(other) or WITHOUT) == network for other in rows)
        own = bars.setdefault(f"{network}, own ({number} cells)", {})
        for column, seconds in row.items():
            if not column.startswith("time_") or seconds is None:
                continue
            phase = column.removeprefix("time_").removesuffix("_s").replace("_", " ")
            if column.startswith(SHARED):
                shared[phase] = passes[backbone(row)][column]
            else:
                own[phase] = own.get(phase, 0.0) + seconds
    return bars
