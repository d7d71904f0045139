"""A run's memory must not grow with the number of images, nor its time per image."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.growth import BATCH, SCALE, SIZE, measured_in_fresh_process
from tests.benchmarks.matrix import WITH_SGD

ROUNDS = {64: 3, 256: 1, 1024: 1}
"""A short run is repeated, and its median taken."""
VARIANT_SIZES = (64, 256)
VARIANTS: dict[str, dict[str, Any]] = {
    "sgd, features kept in memory": {"cache": {"budget_gib": 8.0}},
    "sgd, features kept on disk": {"cache": {"budget_gib": 8.0, "tiers": ["disk"]}},
    "sgd, network runs every epoch": {"cache": {"budget_gib": 0.0}},
}


def median_of(runs: list[dict[str, float]]) -> dict[str, float]:
    """The runs' medians, name by name."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


@pytest.mark.usefixtures("single")  # as in the processes that are measured
def test_growth(benchmark: BenchmarkFixture, publish: Callable[..., None], say: Callable[[str], None]) -> None:
    def sizes() -> dict[int, dict[str, float]]:
        found = {}
        for n, rounds in ROUNDS.items():
            found[n] = median_of([measured_in_fresh_process(n) for _ in range(rounds)])
            say(f"{n} images: {found[n]['ms_per_image']:.1f} ms an image, {found[n]['peak_memory_mib']:.0f} MiB")
        return found

    found = benchmark.pedantic(sizes, rounds=1)
    table = {f"{n} images": row for n, row in found.items()}
    variants = {}
    for name, changes in VARIANTS.items():
        for n in VARIANT_SIZES:
            variants[f"{name}, {n} images"] = measured_in_fresh_process(n, WITH_SGD, **changes)
            say(f"{name}: {n} images done")
    note = (
        f"Each size in a fresh process: generated scenes of {SIZE[0]}x{SIZE[1]} at input scale {SCALE:g}, a held-out "
        "image to four training images, ridge on every layer and all, centre, uniform, observers, 8 metrics; decoding "
        f"in the same process, so that its memory counts; {BATCH} images a batch."
    )
    few, many = found[min(ROUNDS)], found[max(ROUNDS)]
    rounds = {f"{n} images": r for n, r in ROUNDS.items()}
    publish(
        "rss_growth_1024_over_64",
        many["peak_memory_mib"] / few["peak_memory_mib"],
        "times",
        "<= 1.05",
        note=f"Peak resident memory with 1024 training images over that with 64. {note}",
        details={"rounds": rounds, "sizes": table, "variants": variants},
    )
    publish(
        "time_per_image_growth_1024_over_64",
        many["ms_per_image"] / few["ms_per_image"],
        "times",
        "<= 1.10",
        note="Time per image (training and evaluation passes; solving, calibrating on at most 64 images and writing "
        f"are a fixed cost of a run and left out) with 1024 training images over that with 64. {note}",
        details={
            "with fixed costs": many["ms_per_image_with_fixed_costs"] / few["ms_per_image_with_fixed_costs"],
            "rounds": rounds,
            "sizes": table,
        },
    )
