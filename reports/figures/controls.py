"""Is it the training? Each layer set of the trained network beside the untrained one and the pixels alone."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports._board import interval, score, score_with_interval
from reports._pairs import difference
from reports.comparisons import compare, p_in_words
from reports.figures._drawing import Drawn, error_bars, key, panels, titled
from reports.palette import FAINT, LOW_LEVEL, PRETRAINED, UNTRAINED
from reports.study import Row, Study, by_depth, is_pixels, is_random

MOST = 6
"""Panels."""
Group = tuple[str, str]
"""(backbone, layer set)."""


def controls(study: Study) -> Drawn | None:
    """None where the run has neither an untrained network nor the pixels."""
    networks = [row for row in study.networks if not is_pixels(row)]
    untrained = [row for row in networks if is_random(row)]
    trained = [row for row in networks if not is_random(row)]
    pixels = [row for row in study.networks if is_pixels(row)]
    if not trained or not (untrained or pixels):
        return None
    probes = _probes(trained, untrained or pixels)
    groups = _groups(networks)
    figure, axes = panels(len(probes), 3, height=1.0 + 0.27 * len(groups), sharex=True, sharey=True)
    for axis, probe in zip(axes, probes, strict=True):
        _panel(axis, study, probe, groups, networks, pixels)
    axes[0].set_ylim(len(groups) - 0.5, -0.5)
    figure.legend(handles=_legend(study, bool(untrained), bool(pixels)), loc="outside lower center", ncols=3)
    return Drawn("controls", figure, _caption(study, trained, untrained, pixels), _alt(study, networks, pixels))


def _probes(trained: Sequence[Row], control: Sequence[Row]) -> list[str]:
    """Those with both sides, the ones that read most layer sets first."""
    shared = {str(row["probe"]) for row in trained} & {str(row["probe"]) for row in control}
    counts = {probe: sum(row["probe"] == probe for row in trained) for probe in shared}
    several = {probe: n for probe, n in counts.items() if n > 1} or counts
    chosen = sorted(several, key=lambda probe: (-several[probe], probe))[:MOST]
    return chosen or list(dict.fromkeys(str(row["probe"]) for row in trained))[:MOST]


def _groups(networks: Sequence[Row]) -> list[Group]:
    rows = [
        row
        for name in dict.fromkeys(row["backbone"] for row in networks)
        for row in by_depth(networks)
        if row["backbone"] == name
    ]
    return list(dict.fromkeys((str(row["backbone"]), str(row["layers"])) for row in rows))


def _panel(
    axis: Axes, study: Study, probe: str, groups: list[Group], networks: Sequence[Row], pixels: Sequence[Row]
) -> None:
    several = len({backbone for backbone, _ in groups}) > 1
    for which in ("floor", "ceiling"):
        if bound := study.bound(which):
            axis.axvline(bound[study.by], color=FAINT, linewidth=1.2, linestyle=":")
    own = next((row for row in pixels if row["probe"] == probe), None)
    if own:
        ends = interval(own, study.by)
        if ends:
            axis.axvspan(*ends, color=LOW_LEVEL, alpha=0.2, linewidth=0)
        axis.axvline(own[study.by], color=LOW_LEVEL, linewidth=1.2)
    for y, (backbone, layers) in enumerate(groups):
        rows = [r for r in networks if (r["backbone"], r["layers"], r["probe"]) == (backbone, layers, probe)]
        if len(rows) > 1:
            values = [row[study.by] for row in rows]
            axis.plot([min(values), max(values)], [y, y], color="#c9c9c9", linewidth=3, zorder=1)
        for row in rows:
            _dot(axis, row, y, study.by)
    axis.set_yticks(range(len(groups)), [f"{b} {layers}" if several else layers for b, layers in groups])
    axis.grid(visible=False, axis="y")
    titled(axis, probe)
    axis.set_xlabel(f"{study.by.upper()}, 95 % interval")


def _dot(axis: Axes, row: Row, y: int, by: str) -> None:
    colour, marker = (UNTRAINED, "s") if is_random(row) else (PRETRAINED, "o")
    value = row[by]
    error = error_bars([value], [interval(row, by) or (value, value)])
    face = "white" if is_random(row) else colour
    axis.errorbar([value], [y], xerr=error, fmt=marker, color=colour, markerfacecolor=face, elinewidth=1.1)


def _legend(study: Study, untrained: bool, pixels: bool) -> list[Line2D]:
    entries = [key("trained", PRETRAINED, "o")]
    if untrained:
        entries.append(key("untrained", UNTRAINED, "s", hollow=True))
    if pixels:
        entries.append(key("pixels alone, with the same probe", LOW_LEVEL, line="-"))
    bounds = [f"{which} ({bound['probe']})" for which in ("floor", "ceiling") if (bound := study.bound(which))]
    if bounds:
        entries.append(key(" and ".join(bounds), FAINT, line=":"))
    return entries


def _caption(study: Study, trained: Sequence[Row], untrained: Sequence[Row], pixels: Sequence[Row]) -> str:
    words = ["The same layers and probes read from trained and untrained weights."]
    for name, rows in (("untrained", untrained), ("low-level", pixels)):
        if not rows:
            continue
        a, b = trained[0], rows[0]
        test = compare(study, [(a, b)], study.by)[0]
        gap = f": {difference(test)}, {p_in_words(test)}" if test else ""
        what = f"{b['layers']} · {b['probe']}"
        words.append(
            f"Best trained cell ({a['layers']} · {a['probe']}, {score(a, study.by)}) "
            f"minus best {name} one ({what}, {score(b, study.by)}){gap}."
        )
    return " ".join(words)


def _alt(study: Study, networks: Sequence[Row], pixels: Sequence[Row]) -> str:
    words = [
        f"{row['backbone']}/{row['weights']} {row['layers']} {row['probe']} {score(row, study.by)}"
        for row in by_depth(networks)
    ]
    words += [f"pixels {row['layers']} {row['probe']} {score_with_interval(row, study.by)}" for row in pixels[:1]]
    return f"Dots of {study.by} for each layer set, trained and untrained. " + "; ".join(words) + "."
