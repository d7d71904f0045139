"""The sides of a comparison by name, so that a fresh process can run one alone and tell its peak memory."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tests.benchmarks.child import in_fresh_process
from tests.benchmarks.peers import naive_loop, our_training
from tests.benchmarks.scikit import sklearn_ridge, sklearn_sgd
from tests.benchmarks.workload import Job


def run_side(side: str, job: dict[str, Any], **arguments: Any) -> None:
    """Run one side, result thrown away."""
    sides = {"ours": our_training, "naive": naive_loop, "sklearn_ridge": sklearn_ridge, "sklearn_sgd": sklearn_sgd}
    sides[side](Job(**job), **arguments)  # type: ignore[operator]


def peak_of(job: Job, side: str, **arguments: Any) -> float:
    """MiB at the peak of a fresh process that runs one side."""
    return in_fresh_process(__name__, "run_side", side=side, job=asdict(job), **arguments).peak_mib
