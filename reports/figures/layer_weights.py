"""How much each layer contributes to the maps of readouts of several layers."""

from __future__ import annotations

from reports._board import label
from reports.figures._drawing import Drawn, panels, titled, wrapped
from reports.palette import FAINT, PRETRAINED, UNTRAINED
from reports.study import Study, by_depth, is_random

MOST = 9
"""Cells, the best first."""
TITLE = 8.5
"""Points."""


def layer_weights(study: Study) -> Drawn | None:
    """None where no readout of several layers tells."""
    rows = [row for row in study.networks if len(study.info(row).get("layer_shares") or {}) > 1]
    shown = sorted(rows[:MOST], key=lambda row: (is_random(row), rows.index(row)))
    if not shown:
        return None
    longest = max(len(study.info(row)["layer_shares"]) for row in shown)
    across = min(3, len(shown))
    titles = [f"{row['weights']} · {row['layers']} · {row['probe']}" for row in shown]
    lines = max(wrapped(title, across, TITLE).count("\n") for title in titles)
    figure, axes = panels(len(shown), across, height=0.75 + 0.24 * longest + 0.14 * lines, sharex=True)
    order = [row["layers"] for row in by_depth(study.networks)]
    for axis, row, title in zip(axes, shown, titles, strict=True):
        shares = study.info(row)["layer_shares"]
        names = sorted(shares, key=lambda name: order.index(name) if name in order else list(shares).index(name))
        bars = axis.barh(
            names, [100 * shares[name] for name in names], color=UNTRAINED if is_random(row) else PRETRAINED
        )
        axis.bar_label(bars, fmt=lambda share: f"{round(share):d}", padding=2, fontsize=8)  # -0.3 is 0
        axis.axvline(0, color=FAINT, linewidth=1)
        axis.margins(x=0.16)
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        titled(axis, title, TITLE)
    figure.supxlabel("share of the map's variance, %", fontsize=9)
    caption = (
        "Shares of the predicted maps' variance within images; they add up to 100 %. A negative share means that a "
        "layer mostly takes back what others add."
    )
    words = (
        f"{label(row)}: " + ", ".join(f"{name} {share:.0%}" for name, share in study.info(row)["layer_shares"].items())
        for row in shown
    )
    return Drawn("layer_weights", figure, caption, "Bars of each layer's share. " + "; ".join(words) + ".")
