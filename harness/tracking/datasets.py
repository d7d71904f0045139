"""The dataset of a run as MLflow tracks it: what was trained on and what was held out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from harness.recipe import DatasetEntry
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
        points = _facts(run, split)["points"]
        dataset = Dataset(
            name=f"{_name(run, split)} {split}",
            digest=str(about["digest"])[:36],
            source_type="salprobe",
            source=json.dumps(_source(run, split)),
            schema=json.dumps({"image": "uint8 (h, w, 3)", "points": f"{points}: row, col, observer"}),
            profile=json.dumps({name: about[name] for name in ("images", "points")}),
        )
        found.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)]))
    return found


def _entry(run: RunRecord, split: str) -> DatasetEntry:
    return run.recipe.dataset if split == "train" else run.recipe.held_out


def _facts(run: RunRecord, split: str) -> dict[str, Any]:
    """Name, edition and kind of points of the dataset that the split is of."""
    return dict(run.dataset.get("trained_on", run.dataset) if split == "train" else run.dataset)


def _name(run: RunRecord, split: str) -> str:
    return str(_entry(run, split).parameters.get("title") or _facts(run, split).get("name"))


def _source(run: RunRecord, split: str) -> dict[str, Any]:
    """Where it came from, in the recipe's words, without folders of this machine."""
    kept = ("edition", "points", "synthetic")
    facts = _facts(run, split)
    return {"reader": _entry(run, split).name, **{name: facts.get(name) for name in kept}}
