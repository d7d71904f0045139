"""A cell's readout as a logged model of its run: one a run, replaced in place where the readout has changed."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import SalprobeError
from harness.tracking.model import save_model

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from harness.results import CellResult

MODEL_ID, READOUT = "model_id", "readout_sha256"
"""Tags of the cell's run: its model, and what the model was made of."""
_FORBIDDEN = re.compile(r"[^\w-]+")


def log_readout(
    client: MlflowClient, experiment: str, run_id: str, result: CellResult, known: Mapping[str, str]
) -> dict[str, str]:
    """Write the readout as a model; the tags that say so, none for a cell that cannot predict a new image.

    `known` are the run's tags: a model that is up to date is left alone.
    """
    digest = _digest(result.folder)
    if digest is None or known.get(READOUT) == digest:
        return {}
    with tempfile.TemporaryDirectory(prefix="salprobe-") as name:
        folder = Path(name) / "model"
        try:
            assert result.folder is not None
            save_model(result.folder, folder)
        except SalprobeError:
            return {}
        model = known.get(MODEL_ID)
        if model is None:
            model = _create(client, experiment, run_id, result)
        _name(folder, model, run_id)
        client.log_model_artifacts(model, str(folder))
        client.finalize_logged_model(model, "READY")
    return {MODEL_ID: model, READOUT: digest}


def _create(client: MlflowClient, experiment: str, run_id: str, result: CellResult) -> str:
    from mlflow.entities import LoggedModelOutput

    name = _FORBIDDEN.sub("-", result.label).strip("-")
    made = client.create_logged_model(
        experiment, name, source_run_id=run_id, tags={"cell_key": result.key}, model_type="linear readout"
    )
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
    return str(made.model_id)


def _name(folder: Path, model: str, run_id: str) -> None:
    """Write into the model's own description which model of which run it is, as MLflow's `log_model` does."""
    from mlflow.models import Model

    described = Model.load(str(folder))
    described.model_id, described.run_id = model, run_id
    described.save(str(folder / "MLmodel"))


def _digest(folder: Path | None) -> str | None:
    """Of the readout's files; None where there are none."""
    files = sorted(folder.glob("readout.*")) if folder is not None else []
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16] if files else None
