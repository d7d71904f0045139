"""What a run was made from: data, weights, versions, commit, machine."""

from __future__ import annotations

import json
from typing import Any

from harness.results import RUN
from reports._board import Board, backbone, has_network

Document = dict[str, Any]


def facts(board: Board) -> dict[str, str]:
    """What is known of what made these results, by name, for a line of text."""
    about = read_about(board)
    dataset, environment = about.get("dataset", {}), about.get("environment", {})
    source, trained = dataset.get("source") or {}, dataset.get("trained_on", {}).get("source") or {}
    found = {
        "recipe": board.recipe,
        "dataset": _dataset(dataset),
        "data by": source.get("citation"),
        "licence of the data": source.get("licence"),
        "training data by": trained.get("citation"),
        "licence of the training data": trained.get("licence"),
        "test images": _digest(dataset.get("test", {}).get("digest")),
        "of them trained on, too": dataset.get("test_images_trained_on"),
        "training images": _digest(dataset.get("train", {}).get("digest")),
        "weights": ", ".join(_weights(board)),
        "versions": ", ".join(f"{name} {v}" for name, v in environment.get("packages", {}).items() if v),
        "python": environment.get("python"),
        "commit": _commit(environment),
        "accelerator": environment.get("accelerator"),
    }
    return {name: str(value) for name, value in found.items() if value}


def _dataset(dataset: Document) -> str:
    """ "salicon, 2017, mouse", or what was trained on -> what was tested on."""
    both = [dataset["trained_on"], dataset] if "trained_on" in dataset else [dataset]
    return " -> ".join(", ".join(str(one[key]) for key in ("name", "edition", "points") if key in one) for one in both)


def machine(about: Document) -> str:
    """ "AMD EPYC, 2 cores, Linux-6.1", as far as it is known."""
    environment = about.get("environment", {})
    cores = f"{environment['cores']} cores" if environment.get("cores") else None
    parts = (environment.get("processor"), cores, environment.get("platform"))
    return ", ".join(str(part) for part in parts if part)


def read_about(board: Board) -> Document:
    """run.json of the board's folder; empty where it cannot be read."""
    try:
        document = json.loads((board.folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _weights(board: Board) -> list[str]:
    digests = {backbone(row): row.get("weights_sha256") for row in board.finished if has_network(row)}
    return [f"{name} {_digest(digest)}".strip() for name, digest in digests.items()]


def _digest(sha256: str | None) -> str:
    return f"sha256 {sha256[:16]}" if sha256 else ""


def _commit(environment: Document) -> str | None:
    commit = environment.get("git_commit")
    return f"{commit[:12]}{' with local changes' * bool(environment.get('git_dirty'))}" if commit else None
