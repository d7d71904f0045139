"""Nine ridge penalties of one system: one reduction to a band, a Cholesky factor for each, or all eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor

from harness._band import band, square

ALPHAS = tuple(10.0**k for k in range(-6, 3))


def by_band(A: Tensor, right: Tensor) -> Tensor:
    return band(square(len(A), A.device).copy_(A)).solve(right, ALPHAS)[0]


def by_cholesky(A: Tensor, right: Tensor) -> Tensor:
    found, shifted = [], A.clone()
    for alpha in ALPHAS:
        shifted.diagonal().copy_(A.diagonal() + alpha)
        found.append(torch.cholesky_solve(right, torch.linalg.cholesky(shifted)))
    return torch.stack(found)


def by_eigh(A: Tensor, right: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(A)
    rotated = vectors.T @ right
    return torch.stack([vectors @ (rotated / (values + alpha)[:, None]) for alpha in ALPHAS])


SOLVERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"band": by_band, "cholesky": by_cholesky, "eigh": by_eigh}


pytestmark = pytest.mark.usefixtures("single")


@pytest.fixture(scope="module", params=[1024, 2048])
def system(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    x = torch.randn(2 * request.param, request.param, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x.T @ x / len(x), x.mean(0)[:, None]


@pytest.mark.parametrize("name", SOLVERS)
def test_time(benchmark: Any, system: tuple[Tensor, Tensor], name: str) -> None:
    benchmark.group = f"{len(system[0])} features"
    benchmark.pedantic(SOLVERS[name], args=system, rounds=2, warmup_rounds=0 if name == "eigh" else 1)


def test_ratio(benchmark: Any, system: tuple[Tensor, Tensor]) -> None:
    """Prints how many times faster the band is (pytest -s)."""

    def all_three() -> dict[str, float]:
        seconds = {}
        for name, solver in SOLVERS.items():
            start = perf_counter()
            solver(*system)
            seconds[name] = perf_counter() - start
        return seconds

    seconds = benchmark.pedantic(all_three, rounds=1)
    ratios = {name: round(taken / seconds["band"], 2) for name, taken in seconds.items()}
    benchmark.extra_info |= ratios
    print(f"\n{len(system[0])} features, {len(ALPHAS)} alphas, times the band's {seconds['band']:.3f} s: {ratios}")
