"""A recipe that lists several runs: each is the recipe with some of its keys changed, `<recipe>-<run>` by name."""

from __future__ import annotations

import copy
import re
import reprlib
from collections.abc import Mapping
from typing import Any

from harness.errors import RecipeError

RUNS = "runs"
"""The key: run -> the keys that it changes, mappings merged into the recipe's, anything else in their place."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Document = dict[str, Any]


def split_name(name_or_path: str) -> tuple[str, str | None]:
    """`study:eye` and `study.yaml:eye` -> recipe and run; anything else is the recipe."""
    recipe, colon, run = name_or_path.rpartition(":")
    is_run = colon and len(recipe) > 1 and _NAME.fullmatch(run) and not run.endswith((".yaml", ".yml"))
    return (recipe, run) if is_run else (name_or_path, None)


def each_run(document: Document, where: str, only: str | None) -> dict[str, Document]:
    """The recipe of every run, or of that one; "" for a recipe that lists none. Raises RecipeError."""
    if RUNS not in document:
        if only is not None:
            raise RecipeError(f"{where} has no runs, so none that is called {only!r}")
        return {"": document}
    shared = {key: value for key, value in document.items() if key != RUNS}
    runs = document[RUNS]
    if not isinstance(runs, dict) or not runs:
        raise RecipeError(
            f"{where}: {RUNS}: a mapping of names to the keys that a run changes, found {reprlib.repr(runs)}"
        )
    for run, changes in runs.items():
        if not isinstance(run, str) or not _NAME.fullmatch(run):
            raise RecipeError(f"{where}: {RUNS}: {reprlib.repr(run)} is no name for a run: letters, digits, . _ and -")
        if not isinstance(changes, dict):
            raise RecipeError(f"{where}: {RUNS}.{run}: the keys that it changes, found {reprlib.repr(changes)}")
        if "name" in changes or RUNS in changes:
            raise RecipeError(f"{where}: {RUNS}.{run}: a run is named by its place and has no runs of its own")
    if only is not None and only not in runs:
        raise RecipeError(f"{where} has no run {only!r}; it has {', '.join(runs)}")
    return {run: _changed(shared, run, changes) for run, changes in runs.items() if only in (None, run)}


def _changed(shared: Document, run: str, changes: Document) -> Document:
    found = merged(copy.deepcopy(shared), copy.deepcopy(changes))
    return {**found, "name": f"{found.get('name', '')}-{run}"}


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Document:
    """`theirs` over `ours`, mappings key by key."""
    found = dict(ours)
    for key, value in theirs.items():
        mine = found.get(key)
        found[key] = merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return found
