"""Memory and time as the number of images grows: each number in a fresh process, decoding included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.benchmarks.child import in_fresh_process
from tests.benchmarks.workload import RIDGE, Job, measure, plan_for, warm_up

SIZE = (240, 320)
SCALE = 0.5
BATCH = 8
"""The same for all sizes: left to itself a run on few images has small folds, so smaller batches and less memory."""
HELD_OUT_SHARE = 4
"""One held-out image to so many training images."""


def grow(n: int, probes: list[Any], changes: dict[str, Any], size: list[int]) -> dict[str, float]:
    """Run the matrix on n training images in this process; what a fresh one reports of itself."""
    job = _job(n, size)
    settings = {"input": {"scale": SCALE}, "workers": 0, "batch_size": BATCH, **changes}
    warm_up(job, tuple(probes), **settings)
    measured = measure(plan_for(job, tuple(probes), **settings))
    total = job.train + job.test
    # solving, calibrating on at most 64 images and writing do not stream: they are a fixed cost of a run
    streamed = measured.spans["training"] + measured.spans["evaluating"]
    return {
        "ms_per_image": 1e3 * streamed / total,
        "ms_per_image_with_fixed_costs": 1e3 * measured.seconds / total,
        "run_seconds": measured.seconds,
        **{f"{name}_seconds": seconds for name, seconds in measured.spans.items()},
    }


def _job(n: int, size: Sequence[int]) -> Job:
    return Job(n, max(2, n // HELD_OUT_SHARE), *size, real=False)


def measured_in_fresh_process(
    n: int, probes: tuple[Any, ...] = RIDGE, *, size: tuple[int, int] = SIZE, **changes: Any
) -> dict[str, float]:
    """`grow` with the process' peak memory; images that have to be generated are generated here, not there."""
    for split in ("train", "test"):
        plan_for(_job(n, size)).reader.read(split)  # type: ignore[arg-type]
    ended = in_fresh_process(__name__, "grow", n=n, probes=list(probes), changes=changes, size=list(size))
    return {"images": n, "peak_memory_mib": ended.peak_mib, **ended.result}
