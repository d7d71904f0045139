"""All runs of an experiment that a search finds, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1000
"""Runs."""


def found_runs(client: MlflowClient, experiment: str, wanted: str) -> Iterator[Run]:
    """The runs of the experiment with that id that pass the filter."""
    token = None
    while True:
        page = client.search_runs([experiment], wanted, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
