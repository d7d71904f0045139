"""The first and every later reading of SALICON's .mat files at true number (generated, deleted afterwards)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.data._gaze_mat import MOST_PROCESSES
from tests.benchmarks.child import in_fresh_process
from tests.benchmarks.mat_files import IMAGES, generate

MODULE = "tests.benchmarks.mat_files"


def test_mat_files_at_true_number(
    benchmark: BenchmarkFixture,
    publish: Callable[..., None],
    say: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SALPROBE_CACHE", str(tmp_path / "cache"))
    say(f"generating {sum(IMAGES.values())} .mat files")
    try:
        points = generate(tmp_path / "salicon")
        files = list((tmp_path / "salicon").rglob("*.mat"))
        size = sum(file.stat().st_size for file in files)
        arguments = {"root": str(tmp_path / "salicon")}
        first = benchmark.pedantic(lambda: in_fresh_process(MODULE, "read", **arguments), rounds=1)
        kept = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())
        warm = in_fresh_process(MODULE, "read", **arguments)
    finally:
        for name in ("salicon", "cache"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
    assert first.result["points"] == warm.result["points"] == points
    workers = min(os.cpu_count() or 1, MOST_PROCESSES)
    cpu = first.result["cpu_seconds"]
    note = (
        "Generated .mat files of the 2015 form (10,000 and 5,000, of 60 observers with 120 mouse samples each; a few "
        "files under many names), in a new process"
    )
    details = {"points": points, "files": len(files), "files_gb": size / 1e9, "kept_columns_gb": kept / 1e9}
    publish(
        "salicon_mat_first_s",
        first.result["seconds"],
        "s",
        "<= 90",
        note=f"{note}: first read of both splits' mouse samples.",
        details={**details, "reading_processes": workers, "cpu_seconds": cpu},
    )
    publish(
        "salicon_mat_first_peak_gib",
        (first.peak_mib + first.result["workers_mib"]) / 1024,
        "GiB",
        "<= 4",
        note=f"{note}: peak memory of the first read, all processes together.",
        details={
            "main_process_gib": first.peak_mib / 1024,
            "reading_processes_gib": first.result["workers_mib"] / 1024,
        },
    )
    publish(
        "salicon_mat_warm_s",
        warm.result["seconds"],
        "s",
        "<= 1",
        note=f"{note}: every later read, from kept columns (the page cache is warm).",
        details={"peak_gib": warm.peak_mib / 1024},
    )
