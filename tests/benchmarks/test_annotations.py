"""The first and every later reading of an annotation file of true size (generated, deleted afterwards)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.annotations import IMAGES, generate
from tests.benchmarks.child import in_fresh_process

MODULE = "tests.benchmarks.annotations"


def test_annotations_at_true_size(
    benchmark: BenchmarkFixture,
    publish: Callable[..., None],
    say: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SALPROBE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "fixations_train2014.json"
    say(f"generating an annotation file of {IMAGES} images")
    points = generate(file)
    size = file.stat().st_size
    try:
        first = benchmark.pedantic(lambda: in_fresh_process(MODULE, "read", path=str(file)), rounds=1)
        kept = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())
        warm = in_fresh_process(MODULE, "read", path=str(file))
    finally:
        for path in [file, *(p for p in (tmp_path / "cache").rglob("*") if p.is_file())]:
            path.unlink()
    assert first.result["points"] == warm.result["points"] == points
    details = {"points": points, "file_gb": size / 1e9, "kept_columns_gb": kept / 1e9}
    note = "A generated fixations_train2014.json (10,000 images of 60 workers, 115 points each), in a new process"
    publish("salicon_json_first_s", first.result["seconds"], "s", "<= 90", note=f"{note}: first read.", details=details)
    publish(
        "salicon_json_first_peak_gib",
        first.peak_mib / 1024,
        "GiB",
        "<= 4",
        note=f"{note}: peak memory of the first read, the mapped file included.",
    )
    publish(
        "salicon_json_warm_s",
        warm.result["seconds"],
        "s",
        "<= 1",
        note=f"{note}: every later read, from kept columns (the page cache is warm).",
        details={"peak_gib": warm.peak_mib / 1024},
    )
