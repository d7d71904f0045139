"""The whole matrix against the forward pass alone: the project's main promise about speed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.precision import has_fast_bf16
from tests.benchmarks.forward import CPU
from tests.benchmarks.matrix import NOTES, PROBES, Ratio, Ratios
from tests.benchmarks.workload import Job

GOALS = {"ridge": "<= 1.5", "sgd": "<= 2.0"}
HALF = 0.5


@pytest.fixture(scope="session")
def ratios(job: Job) -> Ratios:
    return Ratios(job)


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("probes", PROBES)
def test_matrix_over_forward(
    benchmark: BenchmarkFixture,
    ratios: Ratios,
    publish: Callable[..., None],
    say: Callable[[str], None],
    probes: str,
    precision: str,
) -> None:
    if precision == "bf16" and not has_fast_bf16(CPU):
        pytest.skip("this processor has neither AVX512-BF16 nor AMX: bfloat16 is emulated")
    say(f"{probes}, {precision}: {ratios.job.describe()}")
    whole: Ratio = benchmark.pedantic(ratios.measure, args=(PROBES[probes], precision), rounds=1)
    details = {"images": ratios.job.describe(), "rounds": 1, **whole.details()}
    if (probes, precision) == ("ridge", "fp32"):
        half = ratios.measure(PROBES[probes], precision, HALF)
        details["at half the input size"] = {**half.details(), "forward alone": half.forward.bare}
        say(f"at half the input size: {half.value:.3g}")
    name = f"matrix_over_forward_{probes}" + ("_bf16" if precision == "bf16" else "")
    note = NOTES[probes] + (" Network in bfloat16 on both sides." if precision == "bf16" else "")
    publish(name, whole.value, "times", GOALS[probes], note=note, details=details)
