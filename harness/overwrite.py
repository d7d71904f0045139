"""What a run does with a folder that holds results already."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from harness.errors import ResultsError


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
