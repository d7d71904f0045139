"""What a run does with a folder that holds results already."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path

from harness.errors import ResultsError

SINCE = "overwrite"
"""Beside the state: since when results count, for the rest of a run with `all` that was interrupted."""


class Overwrite(StrEnum):
    """Finished cells are reused, computed again, or a reason to refuse."""

    MISSING = "missing"
    ALL = "all"
    NEVER = "never"


def refuse_results(folder: Path) -> None:
    """Raises ResultsError for a folder that holds results, or the state of a run."""
    if any((folder / name).exists() for name in ("cells.parquet", "cells", "state")):
        raise ResultsError(
            f"{folder} holds results and --overwrite never leaves them alone: --overwrite missing goes on with them, "
            "--overwrite all computes every cell again, another --out keeps both"
        )


def counts_since(state: Path, overwrite: Overwrite) -> float:
    """From when on a cell must have ended to count (seconds since 1970); 0 where every one does."""
    from harness.files import replace

    if overwrite is Overwrite.ALL:
        state.mkdir(parents=True, exist_ok=True)
        replace(state / SINCE, repr(time.time()).encode())
    try:
        return float((state / SINCE).read_text())
    except (OSError, ValueError):
        return 0.0
