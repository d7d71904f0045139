"""The command line answers at once."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.startup import command, seconds_of

ROUNDS = 7
COMMANDS = {"help_s": ("--help",), "list_s": ("list", "probes")}


@pytest.mark.parametrize("name", COMMANDS)
def test_startup(benchmark: BenchmarkFixture, publish: Callable[..., None], name: str) -> None:
    seconds: list[float] = []
    arguments = COMMANDS[name]
    benchmark.pedantic(lambda: seconds.append(seconds_of(*arguments)), rounds=ROUNDS, warmup_rounds=1)
    measured = seconds[-ROUNDS:]
    publish(
        name,
        statistics.median(measured),
        "s",
        "<= 1.0",
        note=f"Wall time of `salprobe {' '.join(arguments)}`, median of {ROUNDS} runs after one that warms the disk.",
        details={
            "rounds": ROUNDS,
            "fastest": min(measured),
            "slowest": max(measured),
            "command": "salprobe" if len(command()) == 1 else "python -m harness",
            "python": platform.python_version(),
        },
    )
