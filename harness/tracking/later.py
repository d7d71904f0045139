"""Runs that MLflow was not told of, or only in part: told now, from the files of their results folders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.errors import TrackingError
from harness.finished_run import read_run
from harness.tracking.store import store_uri

if TYPE_CHECKING:
    from harness.progress import Progress
    from harness.tracking.journal import Journal


@dataclass(frozen=True)
class Tracked:
    """What was written where."""

    folder: Path
    uri: str
    cells: int


def track_folders(folders: Sequence[Path], uri: str | None, progress: Progress) -> list[Tracked]:
    """Log every finished or failed cell of these results folders; what a store has already is brought up to date.

    Without `uri` each goes where its run would have logged it. Raises ResultsError for a folder that is not a run's,
    TrackingError where a store cannot be written.
    """
    return [_track(folder.resolve(), uri, progress) for folder in folders]


def _track(folder: Path, uri: str | None, progress: Progress) -> Tracked:
    from harness.tracking.journal import Journal

    past = read_run(folder)
    uri = uri or past.record.recipe.tracking.uri or store_uri(folder.parent)
    cells = [result for result in past.results if result.status != "skipped"]
    journal = None
    try:
        journal = Journal(past.record, uri)
        with progress.phase(f"tracking {past.record.recipe.name}", len(cells), "cells") as bar:
            for result in cells:
                journal.record(result)
                bar.advance(1)
        journal.record_curves()
    except KeyboardInterrupt:
        _close(journal, "KILLED")
        raise
    except Exception as error:  # whatever MLflow, its database or its server may throw
        _close(journal, "FAILED")
        raise TrackingError(f"{uri} could not be written: {type(error).__name__}: {error}") from error
    return Tracked(folder, uri, len(cells))


def _close(journal: Journal | None, status: Literal["KILLED", "FAILED"]) -> None:
    """Leave no run open, as far as the store still answers."""
    with suppress(Exception):
        if journal is not None:
            journal.close(status)
