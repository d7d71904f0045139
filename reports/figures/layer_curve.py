"""The ranking metric against the depth of the layer that was read, a panel a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports._board import interval, label, score, score_with_interval
from reports.figures._drawing import Drawn, error_bars, key, legend_below, panels, titled
from reports.palette import CEILING, FAINT, FLOOR, INK, LOW_LEVEL, styles
from reports.study import Row, Study, by_depth, depth, is_pixels, is_random

DODGE = 0.05
"""Of the panel's width, from the first line to the last, so that their intervals do not cover each other."""


@dataclass(frozen=True)
class Panel:
    """The cells of one network in one run."""

    study: Study
    backbone: str
    rows: list[Row]

    @property
    def places(self) -> dict[str, float]:
        """Where each layer set stands: single layers at their depth, sets of several to the right of all."""
        rows = by_depth(self.rows)
        single = {str(row["layers"]): float(depth(row) or 0) for row in rows if depth(row) is not None}
        deepest, span = max(single.values()), max(single.values()) - min(single.values())
        several = dict.fromkeys(str(row["layers"]) for row in rows if depth(row) is None)
        return single | {name: deepest + max(1.0, 0.16 * span) * n for n, name in enumerate(several, 1)}


def layer_curve(studies: Sequence[Study]) -> Drawn | None:
    """None where no network was read at two depths."""
    shown = [panel for study in studies for panel in _panels(study)]
    if not shown:
        return None
    figure, axes = panels(len(shown), 2, height=4.3 if len(shown) == 1 else 3.5, sharey=True)
    looks = styles(str(row["probe"]) for panel in shown for row in panel.rows)
    for axis, panel in zip(axes, shown, strict=True):
        _draw(axis, panel, looks, named=len(shown) > 1, run=len(studies) > 1)
    legend_below(figure, _legend(shown, looks), 4)
    return Drawn("layer_curve", figure, _caption(shown), _alt(shown))


def _panels(study: Study) -> Iterable[Panel]:
    rows = [row for row in study.networks if not is_pixels(row)]
    for backbone in dict.fromkeys(row["backbone"] for row in rows):
        own = [row for row in rows if row["backbone"] == backbone]
        if len({depth(row) for row in own} - {None}) > 1:
            yield Panel(study, backbone, own)


def _lines(panel: Panel) -> dict[tuple[str, str], list[Row]]:
    """By weights and probe, shallow to deep; trained networks first, and what reads most layers."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in by_depth(panel.rows):
        found.setdefault((str(row["weights"]), str(row["probe"])), []).append(row)
    return dict(sorted(found.items(), key=lambda line: (is_random(line[1][0]), line[0][0], -len(line[1]), line[0][1])))


def _draw(axis: Axes, panel: Panel, looks: dict[str, tuple[str, str]], *, named: bool, run: bool) -> None:
    by, places, lines = panel.study.by, panel.places, _lines(panel)
    step = DODGE * max(1.0, max(places.values()) - min(places.values())) / max(1, len(lines) - 1)
    for which, colour in (("floor", FLOOR), ("ceiling", CEILING)):
        _band(axis, panel.study.bound(which), which, by, colour)
    pixels = next((row for row in panel.study.networks if is_pixels(row)), None)
    if pixels:
        _band(axis, pixels, "pixels", by, LOW_LEVEL)
    for n, ((_, probe), rows) in enumerate(lines.items()):
        colour, marker = looks[probe]
        dash = (0, (4, 2)) if is_random(rows[0]) else "solid"
        fill = "white" if is_random(rows[0]) else colour
        x = [places[str(row["layers"])] + (n - (len(lines) - 1) / 2) * step for row in rows]
        single = [i for i, row in enumerate(rows) if depth(row) is not None]
        y = [float(row[by]) for row in rows]
        axis.plot([x[i] for i in single], [y[i] for i in single], color=colour, linestyle=dash)
        ends = [interval(row, by) or (value, value) for row, value in zip(rows, y, strict=True)]
        axis.errorbar(x, y, yerr=error_bars(y, ends), fmt=marker, color=colour, markerfacecolor=fill, elinewidth=1.1)
    _mark_best(axis, panel, step, lines)
    _frame(axis, panel, named=named, run=run)


def _band(axis: Axes, row: Row | None, name: str, by: str, colour: str) -> None:
    if row is None:
        return
    ends = interval(row, by)
    if ends:
        axis.axhspan(*ends, color=colour, alpha=0.18, linewidth=0)
    axis.axhline(row[by], color=colour, linewidth=1, linestyle=":")
    words = f"{name} ({row['probe']}) {score(row, by)}"
    axis.annotate(
        words,
        (0.995, row[by]),
        xycoords=("axes fraction", "data"),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right",
        color=colour,
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
    )


def _mark_best(axis: Axes, panel: Panel, step: float, lines: dict[tuple[str, str], list[Row]]) -> None:
    best = panel.study.best
    if best is None or best["backbone"] != panel.backbone:
        return
    n = list(lines).index((str(best["weights"]), str(best["probe"])))
    x, y = panel.places[str(best["layers"])] + (n - (len(lines) - 1) / 2) * step, best[panel.study.by]
    axis.plot([x], [y], marker="o", markersize=12, markerfacecolor="none", color=INK, markeredgewidth=1.2)
    up = 10 if panel.study.higher_is_better else -18
    axis.annotate(
        f"best: {y:.3f}", (x, y), xytext=(0, up), textcoords="offset points", ha="center", fontsize=8.5, weight="bold"
    )


def _frame(axis: Axes, panel: Panel, *, named: bool, run: bool) -> None:
    places = panel.places
    crowded = len(places) > 7 or max(map(len, places)) > 12
    axis.set_xticks(list(places.values()), list(places))
    if crowded:
        axis.tick_params("x", labelrotation=60)
    single = [places[str(row["layers"])] for row in panel.rows if depth(row) is not None]
    if max(places.values()) > max(single):
        first = min(x for x in places.values() if x > max(single))
        axis.axvline((max(single) + first) / 2, color=FAINT, linewidth=0.7)
    axis.grid(visible=False, axis="x")
    axis.margins(y=0.1)
    axis.set_xlabel("layer, at its depth in the network")
    axis.set_ylabel(f"{panel.study.by.upper()}, mean over images, 95 % interval")
    if named:
        titled(axis, f"{panel.study.name}: {panel.backbone}" if run else panel.backbone)


def _legend(panels: Sequence[Panel], looks: dict[str, tuple[str, str]]) -> list[Line2D]:
    handles: dict[str, Line2D] = {}
    for panel in panels:
        for (weights, probe), rows in _lines(panel).items():
            colour, marker = looks[probe]
            untrained = is_random(rows[0])
            name = f"{weights} · {probe}"
            handles[name] = key(name, colour, marker, "--" if untrained else "-", hollow=untrained)
    return list(handles.values())


def _caption(panels: Sequence[Panel]) -> str:
    several = any(depth(row) is None for panel in panels for row in panel.rows)
    return (
        "How well each layer alone predicts gaze. Filled markers and solid lines are trained networks, open markers "
        "and dashed lines untrained ones. Bands: floor and ceiling with their intervals."
        + " Right of the thin line: readouts of several layers together."
        * several
    )


def _alt(panels: Sequence[Panel]) -> str:
    words = []
    for panel in panels:
        by = panel.study.by
        for which in ("floor", "ceiling"):
            if row := panel.study.bound(which):
                words.append(f"{which} ({row['probe']}) {score_with_interval(row, by)}")
        for rows in _lines(panel).values():
            name = label(rows[0]).replace(f" · {rows[0]['layers']} · ", " · ")
            words.append(f"{name}: " + ", ".join(f"{row['layers']} {score(row, by)}" for row in rows))
    return f"Lines of {panels[0].study.by} against layer depth. " + "; ".join(words) + "."
