"""The dataset of a run as MLflow tracks it: what was trained on and what was held out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from harness.results import RunRecord

CONTEXTS = {"train": "training", "test": "evaluation"}


def dataset_inputs(run: RunRecord) -> list[DatasetInput]:
    """Both splits, told apart by their digests; nothing names a folder of this machine."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    found = []
    for split, context in CONTEXTS.items():
        about = run.dataset.get(split)
        if about is None:
            continue
        dataset = Dataset(
            name=f"{_name(run)} {split}",
            digest=str(about["digest"])[:36],
            source_type="salprobe",
            source=json.dumps(_source(run)),
            schema=json.dumps({"image": "uint8 (h, w, 3)", "points": f"{run.dataset['points']}: row, col, observer"}),
            profile=json.dumps({name: about[name] for name in ("images", "points")}),
        )
        found.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)]))
    return found


def _name(run: RunRecord) -> str:
    return str(run.recipe.dataset.parameters.get("title") or run.dataset.get("name"))


def _source(run: RunRecord) -> dict[str, Any]:
    """Where it came from, in the recipe's words, without folders of this machine."""
    kept = ("edition", "points", "synthetic")
    return {"reader": run.recipe.dataset.name, **{name: run.dataset.get(name) for name in kept}}
