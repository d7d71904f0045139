"""The observer that keeps MLflow up to date and never lets it stop a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from harness.tracking.store import store_uri

if TYPE_CHECKING:
    from harness.results import CellResult, RunRecord
    from harness.tracking.journal import Journal

log = logging.getLogger("salprobe.tracking")


class MlflowObserver:
    """Writes each cell to MLflow as it ends. The first error ends the tracking, not the run.

    `uri` is the store in use; `error` says what went wrong, for the exit code.
    """

    def __init__(self) -> None:
        self.uri: str | None = None
        self.error: str | None = None
        self._journal: Journal | None = None

    def started(self, run: RunRecord) -> None:
        """Open the store, which creates or migrates its schema once."""
        with self._at_its_own_risk():
            from harness.tracking.journal import Journal

            self.uri = run.recipe.tracking.uri or store_uri(run.folder.parent)
            self._journal = Journal(run, self.uri)

    def cell_ended(self, result: CellResult) -> None:
        """One run for a finished or failed cell, none for a skipped one."""
        if self._journal is None or result.status == "skipped":
            return
        with self._at_its_own_risk():
            self._journal.record(result)

    def ended(self, status: Literal["finished", "failed", "interrupted"]) -> None:
        """Layer curves of what there is; nothing stays RUNNING."""
        if self._journal is None:
            return
        with self._at_its_own_risk():
            if status != "interrupted":
                self._journal.record_curves()
            self._journal.close("KILLED" if status == "interrupted" else "FAILED")
        self._journal = None

    @contextmanager
    def _at_its_own_risk(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever MLflow, its database or its server may throw
            self.error = f"{type(error).__name__}: {error}"
            log.warning("MLflow tracking stopped, the run goes on and its results are complete (%s)", self.error)
            self._abandon()

    def _abandon(self) -> None:
        journal, self._journal = self._journal, None
        try:
            if journal is not None:
                journal.close("FAILED")
        except Exception:
            log.debug("the open MLflow run could not be closed either", exc_info=True)
