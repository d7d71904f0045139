"""The write-up's figures, all from facts.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes

from reports._board import interval
from reports.figures import Drawn
from reports.figures._drawing import canvas, error_bars, key, legend_below
from reports.palette import CEILING, FLOOR, LINES, LOW_LEVEL, MARKERS, UNTRAINED
from reports.writeup.choices import (
    CC,
    KL,
    RIDGE,
    RIDGE_POSITION,
    SETS,
    STAGES,
    Cell,
    Facts,
    best,
    filters,
    find,
    single,
    trained,
    untrained,
)

LOOKS = {RIDGE: (LINES[0], MARKERS[0]), RIDGE_POSITION: (LINES[5], MARKERS[4]), KL: (LINES[2], MARKERS[2])}
TICKS = {STAGES: "five stages"}
PANELS = ("eye", "mouse", "salicon")


def figures(facts: Facts) -> Iterator[Drawn]:
    """All of them."""
    yield layers(facts)
    yield learning(facts)


def layers(facts: Facts) -> Drawn:
    """CC by depth, a panel a dataset."""
    runs = [run for run in PANELS if run in facts["cells"]]
    figure, axes = canvas(1, len(runs), height=3.6, sharey=True)
    for axis, run in zip(axes, runs, strict=True):
        _curves(axis, facts["cells"][run])
        axis.set_title(facts["runs"][run]["dataset"])
    axes[0].set_ylabel("CC, mean over held-out images")
    for axis in axes:
        axis.set_xlabel("block, shallow to deep | together")
    handles = [key(probe, *LOOKS[probe], "-") for probe in (RIDGE, RIDGE_POSITION, KL)]
    handles.append(key("ridge, random weights", UNTRAINED, "D", "--", hollow=True))
    legend_below(figure, handles, 4)
    caption = "Every layer alone, and right of the line several together: the five stages, all 17 blocks, two sizes."
    return Drawn("layers", figure, caption, caption)


def _curves(axis: Axes, cells: Sequence[Cell]) -> None:
    network = trained(cells)
    places = {str(cell["layers"]): float(n) for n, cell in enumerate(single(network))}
    last = len(places) - 1
    places |= {name: last + 1.5 + n for n, name in enumerate(SETS)}

    def draw(chosen: Sequence[Cell], **look: Any) -> None:
        _curve(axis, [places[str(cell["layers"])] for cell in chosen], chosen, **look)

    for probe in (RIDGE, RIDGE_POSITION, KL):
        colour, marker = LOOKS[probe]
        draw(single(network, probe), color=colour, marker=marker)
        several = [c for c in network if c["depth"] is None and c["probe"] == probe]
        draw(several, color=colour, marker=marker, linestyle="")
    look = {"color": UNTRAINED, "marker": "D", "markerfacecolor": "white"}
    draw(single(untrained(cells)), **look, linestyle="--")
    draw([c for c in untrained(cells) if c["depth"] is None and c["probe"] == RIDGE], **look, linestyle="")
    bounds = [("observers", CEILING), ("centre", FLOOR)]
    lines = [(find(cells, probe=probe), probe, colour) for probe, colour in bounds]
    fixed = filters(cells)
    lines.append((best(fixed) if fixed else None, "fixed filters", LOW_LEVEL))
    for cell, name, colour in lines:
        if cell:
            axis.axhline(cell[CC], color=colour, linestyle=":", linewidth=1)
            place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            place |= {"bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3}, "fontsize": 7.5}
            at, up, side = (0.76, -9, "right") if name == "fixed filters" else (0.06, 3, "left")
            axis.annotate(name, (at, cell[CC]), xytext=(0, up), ha=side, color=colour, **place)
    axis.axvline(last + 0.75, color=FLOOR, linewidth=0.7)
    axis.set_xticks(
        list(places.values()), [TICKS.get(name, name.removeprefix("layer")) for name in places], rotation=90, fontsize=7
    )
    axis.grid(visible=False, axis="x")


def _curve(axis: Axes, x: Sequence[float], cells: Sequence[Cell], **look: Any) -> None:
    y = [float(cell[CC]) for cell in cells]
    ends = [interval(cell, CC) or (value, value) for cell, value in zip(cells, y, strict=True)]
    axis.errorbar(x, y, yerr=error_bars(y, ends), elinewidth=0.8, markersize=3.5, **look)


def learning_curve(facts: Facts, **names: Any) -> list[tuple[int, Cell]]:
    """(training images, cell) of the eye tracker's runs that differ in the number of training images only."""
    runs = [run for run in facts["runs"] if run == "eye" or run.removeprefix("eye-").isdigit()]
    found = ((facts["runs"][run]["train"], find(trained(facts["cells"][run]), **names)) for run in runs)
    return sorted(((images, cell) for images, cell in found if cell), key=lambda point: point[0])


def learning(facts: Facts) -> Drawn:
    """CC by the number of training images."""
    figure, (left, right) = canvas(1, 2, height=3.2, sharey=True)
    for axis, probe in ((left, RIDGE), (right, KL)):
        for n, layers in enumerate(("layer2.3", "layer3.5", "layer4.2", STAGES)):
            points = learning_curve(facts, layers=layers, probe=probe)
            name = "five stages" if layers == STAGES else layers
            look = {"color": LINES[n], "marker": MARKERS[n], "label": name}
            _curve(axis, [images for images, _ in points], [cell for _, cell in points], **look)
        axis.set_xscale("log")
        ticks = [images for images, _ in points]
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel("training images")
        axis.set_title(probe)
    left.set_ylabel("CC on the same 200 held-out images")
    right.legend(loc="lower right")
    caption = "The learning curve on the eye tracker's recordings, 95 % intervals over held-out images."
    return Drawn("learning", figure, caption, caption)
