"""What earlier runs left unfinished: which of the missing cells can go on from there, which begin anew."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import distributed
from harness.scoring_state import READOUTS
from harness.snapshots import Snapshots
from harness.training_state import cells_in

if TYPE_CHECKING:
    from harness.cells import Cell

log = logging.getLogger("salprobe")
Part = tuple[dict[str, "Cell"], Snapshots]
"""Cells by key that share their passes, and where their state is kept."""


def unfinished_parts(
    root: Path, facts: Mapping[str, Any], missing: Mapping[str, Cell], every_s: float, say: Callable[[str], None]
) -> Iterator[Part]:
    """The missing cells in parts: first those of which a state can be used, then all others."""
    left = dict(missing)
    for work, keys, whole in _usable(root, facts, missing, every_s, say):
        if whole and not set(keys) <= left.keys():
            continue  # of a pass all cells go on, or none: some of these go on from another state
        part = {key: left.pop(key) for key in keys if key in left}
        if part:
            say(f"going on with {len(part)} cells that an earlier run had begun")
            yield part, work
    if left:
        yield left, Snapshots(root, {**facts, "cells": list(left)}, every_s)


def _usable(
    root: Path, facts: Mapping[str, Any], missing: Mapping[str, Cell], every_s: float, say: Callable[[str], None]
) -> Iterator[tuple[Snapshots, list[str], bool]]:
    """States, their cells and whether these go on together or not at all; in the same order in all processes.

    A word on what is of no use.
    """
    alike = {}
    for work in Snapshots.all_of(root, every_s):
        its = work.facts
        differing = [f"{key} was {its.get(key)}, is {value}" for key, value in facts.items() if its.get(key) != value]
        if differing and set(its["cells"]) & set(missing):
            say(f"the state of an earlier run is of no use here ({', '.join(differing)}): its cells begin anew")
        elif not differing:
            alike[work.folder.name] = work
    for name in sorted(set.intersection(*distributed.gather(set(alike)))):
        work = alike[name]
        keys = _cells_of(work)
        gone, whole = set(keys) - set(missing), READOUTS not in work.common()
        if not set(keys) & set(missing):
            continue
        if gone and whole:
            say(f"the state of an earlier run holds {len(gone)} cells that are not asked for: its cells begin anew")
        else:
            yield work, keys, whole


def _cells_of(work: Snapshots) -> list[str]:
    """The cells of which all processes have a state."""
    try:
        kept = list(work.read(READOUTS)["cells"]) if READOUTS in work.common() else cells_in(work)
    except Exception as error:  # whatever a damaged file makes torch raise
        log.warning("the state in %s cannot be read, its cells begin anew: %s", work.folder, error)
        kept = []
    found = distributed.gather(kept)
    return kept if all(one == kept for one in found) else []
