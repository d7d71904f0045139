"""Reading OSIE, MIT1003 and CAT2000 at true size (generated, deleted afterwards)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.child import in_fresh_process
from tests.benchmarks.neighbours import IMAGES, generate


@pytest.mark.parametrize("name", IMAGES)
def test_neighbours_at_true_size(
    benchmark: BenchmarkFixture, publish: Callable[..., None], tmp_path: Path, name: str
) -> None:
    root = tmp_path / name
    try:
        generate(root, name, IMAGES[name])
        arguments = {"root": str(root), "name": name}
        ended = benchmark.pedantic(
            lambda: in_fresh_process("tests.benchmarks.neighbours", "read", **arguments), rounds=1
        )
    finally:
        shutil.rmtree(root, ignore_errors=True)
    result = dict(ended.result)
    assert result["images"] == IMAGES[name]
    publish(
        f"{name}_read_s",
        result.pop("seconds"),
        "s",
        note=f"Both splits of a generated {name} in the layout and size of its release, in a new process; nothing is "
        "kept between reads.",
        details={**result, "peak_gib": ended.peak_mib / 1024},
    )
