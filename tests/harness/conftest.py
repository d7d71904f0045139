"""Results folders with an MLflow store whose schema is there already: creating one takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.tracking.store import DATABASE, keep_quiet
from tests.harness.small_run import Told, small_run


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keep_quiet()
    from mlflow import MlflowClient

    database = tmp_path_factory.mktemp("store") / DATABASE
    MlflowClient(f"sqlite:///{database.as_posix()}").search_experiments()
    return database


@pytest.fixture
def mlflow_store(migrated_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `--out` folder that holds an empty, migrated store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    out = tmp_path / "re sults"  # the space is on purpose
    out.mkdir()
    shutil.copy(migrated_store, out / DATABASE)
    return out


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A small run on generated images, with every kind of cell."""
    return small_run(tmp_path_factory.mktemp("told"))
