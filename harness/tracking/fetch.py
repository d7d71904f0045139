"""A cell's files back from an MLflow store: by a run's id, `runs:/...` or `models:/...`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ResultsError, TrackingError
from harness.predictor import FILES, is_cell
from harness.tracking.store import SQLITE, keep_quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient

STORE = "MLFLOW_TRACKING_URI"
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_RUN_URI = re.compile(r"runs:/+([0-9a-f]{32})/?(.*)")
_DEEPEST = 6


def is_reference(text: str) -> bool:
    """Whether it looks like a run or a model of an MLflow store."""
    return bool(_RUN_ID.fullmatch(text)) or text.startswith(("runs:/", "models:/"))


def fetch_cell(reference: str, uri: str, into: Path) -> Path:
    """Download the FILES of a run or model; the folder that holds them.

    Raises ResultsError for a run or model without a cell, TrackingError where the store cannot be read.
    """
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():  # MLflow would make an empty one
        raise TrackingError(
            f"{reference}: no MLflow store {uri.removeprefix(SQLITE)}; --results names the folder that has it, or "
            f"{STORE} a store"
        )
    keep_quiet()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.exceptions import MlflowException

    try:
        with _in_use(uri) as client:
            found = _fetch(client, reference, into)
    except (MlflowException, OSError) as error:
        raise TrackingError(f"{reference} cannot be had from {uri}: {error}") from error
    if found is None:
        raise ResultsError(
            f"{reference} in {uri} has no cell's files ({', '.join(FILES)}): is it a finished cell of salprobe?"
        )
    return found


def _fetch(client: MlflowClient, reference: str, into: Path) -> Path | None:
    if reference.startswith("models:/"):
        return _download_model(reference, into)
    match = _RUN_URI.fullmatch(reference)
    run_id, place = match.groups() if match else (reference, "")
    for folder in _folders(client, run_id, place):
        paths = [client.download_artifacts(run_id, f"{folder}/{name}".lstrip("/"), str(into)) for name in FILES]
        return Path(paths[0]).parent
    outputs = client.get_run(run_id).outputs
    models = [f"models:/{model.model_id}" for model in outputs.model_outputs] if outputs and not place else []
    return next((found for model in models if (found := _download_model(model, into))), None)


def _folders(client: MlflowClient, run_id: str, place: str, depth: int = 0) -> Iterator[str]:
    """Folders of a run's artifacts that hold a cell, the outer ones first."""
    items = client.list_artifacts(run_id, place or None)
    names = {Path(item.path).name for item in items if not item.is_dir}
    if set(FILES) <= names:
        yield place
    for item in items:
        if item.is_dir and depth < _DEEPEST:
            yield from _folders(client, run_id, item.path, depth + 1)


def _download_model(model: str, into: Path) -> Path | None:
    from mlflow.artifacts import download_artifacts

    root = Path(download_artifacts(model, dst_path=str(into)))
    about = sorted(path.parent for path in root.rglob(FILES[0]))
    return next((folder for folder in about if is_cell(folder)), None)


@contextmanager
def _in_use(uri: str) -> Iterator[MlflowClient]:
    """The process' store for a while: MLflow looks for models there, whatever store a client was given."""
    import mlflow

    before = os.environ.get(STORE)
    mlflow.set_tracking_uri(uri)  # sets the variable, too
    try:
        yield mlflow.MlflowClient(uri)
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        if before is not None:
            os.environ[STORE] = before
