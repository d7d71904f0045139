"""How much faster the same readouts are trained than in the obvious ways; one thread, the same images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.peers import BOTH, MSE, naive_loop, our_training
from tests.benchmarks.scikit import ridge_difference, sklearn_ridge, sklearn_sgd
from tests.benchmarks.sides import peak_of
from tests.benchmarks.workload import Job, warm_up

MOST_IMAGES = 64
NAIVE_IMAGES = 8
BUDGET_S = 20.0
"""For scikit-learn's ridge of one layer set; what is left is counted by the average of the fits that were run."""
COMPARED = "layer3"

pytestmark = pytest.mark.usefixtures("single")
Publish = Callable[..., None]


@pytest.fixture
def few(job: Job) -> Job:
    """The matrix' images, but no more than a peer can bear."""
    return replace(job, train=min(MOST_IMAGES, job.train), test=2)


def details(job: Job, ours: float, theirs: Any, sides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Seconds and peak memory of both sides; memory is read in a fresh process a side."""
    seconds = {"ours": ours, "theirs": theirs.seconds}
    rows = {
        side: {"seconds": seconds[side], "peak_memory_mib": round(peak_of(job, **how))} for side, how in sides.items()
    }
    return {
        "images": job.describe(),
        "rounds": 1,
        "sides": rows,
        **theirs.details,
    }


def test_naive_loop(benchmark: BenchmarkFixture, publish: Publish, few: Job) -> None:
    warm_up(few, BOTH)
    ours = benchmark.pedantic(our_training, args=(few, BOTH), rounds=1)
    theirs = naive_loop(few, NAIVE_IMAGES)
    sides = {"ours": {"side": "ours", "probes": list(BOTH)}, "theirs": {"side": "naive", "measured": NAIVE_IMAGES}}
    publish(
        "speedup_over_naive_loop",
        theirs.seconds / ours,
        "times",
        note="Training of 6 layer sets x 2 losses x 5 epochs by SGD, against a loop that runs the network for every "
        "probe and epoch and trains the same nn.Conv2d 1x1 with Adam. The loop's passes stop after a probe's deepest "
        "layer and its images are decoded beforehand; it is measured for one epoch of every probe on a few images and "
        "scaled linearly.",
        details=details(few, ours, theirs, sides),
    )


@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")  # scikit-learn on the smallest alphas, float32
def test_sklearn_ridge(benchmark: BenchmarkFixture, publish: Publish, few: Job, tmp_path: Path) -> None:
    warm_up(few, ("ridge",))
    ours = benchmark.pedantic(our_training, args=(few, ("ridge",), tmp_path), rounds=1)
    theirs = sklearn_ridge(few, BUDGET_S)
    agreement = ridge_difference(few, tmp_path / "benchmark", COMPARED)
    sides = {"ours": {"side": "ours", "probes": ["ridge"]}, "theirs": {"side": "sklearn_ridge", "budget_s": 0.0}}
    publish(
        "speedup_over_sklearn_ridge",
        theirs.seconds / ours,
        "times",
        note="Training of 6 ridge readouts (9 alphas x 5 folds each, and on all images) including the network, against "
        "scikit-learn on features stored once (float32, on the fitting grid): StandardScaler a fold, Ridge (Cholesky) "
        f"a fit. A layer set's fits are run for {BUDGET_S:g} s, the rest counted by their average; its memory "
        "is that of storing and one fit a set.",
        details=details(few, ours, theirs, sides)
        | {f"agreement on {COMPARED}, same alpha, in standard deviations": agreement},
    )


def test_sklearn_sgd(benchmark: BenchmarkFixture, publish: Publish, few: Job) -> None:
    warm_up(few, MSE)
    ours = benchmark.pedantic(our_training, args=(few, MSE), rounds=1)
    theirs = sklearn_sgd(few)
    sides = {"ours": {"side": "ours", "probes": list(MSE)}, "theirs": {"side": "sklearn_sgd"}}
    publish(
        "speedup_over_sklearn_sgd",
        theirs.seconds / ours,
        "times",
        note="Training of 6 readouts by squared error, 5 epochs, including the network, against scikit-learn's "
        "StandardScaler and SGDRegressor.partial_fit (a step a position, not a mini-batch of images) on features "
        "stored once. Both sides spend most of their time in the network.",
        details=details(few, ours, theirs, sides),
    )
