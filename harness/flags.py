"""What a reader should doubt about a cell: words for people in a readout's info, and a flag each to search by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EDGE, UNCONVERGED, UNSCORED = "edge", "unconverged", "unscored"
MEANING = {
    EDGE: "a parameter was chosen at the edge of its grid",
    UNCONVERGED: "training ended before it had converged",
    UNSCORED: "some held-out images could not be scored",
}
"""The flags that built-ins set; a plugin may set others."""


def flag(info: dict[str, Any], name: str, words: str) -> None:
    """Add a warning and its flag, one word, to what a readout says of itself (`info["warnings"]`, `info["flags"]`)."""
    info["warnings"] = [*info.get("warnings", ()), words]
    info["flags"] = list(dict.fromkeys([*info.get("flags", ()), name]))


def all_flags(info: Mapping[str, Any], n_unscored: int) -> list[str]:
    """A cell's flags, with UNSCORED where images lack a score."""
    return list(dict.fromkeys([*map(str, info.get("flags", ())), *[UNSCORED] * bool(n_unscored)]))


def unscored_words(unscored: Mapping[str, int], n_unscored: int, n_images: int) -> str:
    """ "4 of 24 images have not every score: sim: constant prediction (4)"."""
    alike: dict[tuple[str, int], list[str]] = {}  # what metrics lack for one reason in as many images stands together
    for words, count in unscored.items():
        metric, _, reason = words.partition(": ")
        alike.setdefault((reason, count), []).append(metric)
    reasons = "; ".join(f"{', '.join(metrics)}: {reason} ({count})" for (reason, count), metrics in alike.items())
    return f"{n_unscored} of {n_images} images lack a score: {reasons or 'no reason given'}"
