"""Nine ridge penalties of one system: one reduction to a band, a Cholesky factor for each, or all eigenvectors.

And four ridges on the same features, cross-validated together and each alone.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor

from harness._band import band, square
from harness.normal_equations import add_up, cross_validate
from harness.ridge_family import Member, cross_validate_family
from tests.harness.ridge_families import MEMBERS, alone, parts

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


@pytest.mark.parametrize("alphas", [ALPHAS, ALPHAS[3:7]], ids=["band", "cholesky"])
def test_family_over_one_ridge(
    benchmark: Any, publish: Callable[..., None], alphas: tuple[float, ...], request: pytest.FixtureRequest
) -> None:
    """Two targets, with and without five more features, three folds: what all four cost where one costs 1."""
    p, more = 2048, 5
    folds = parts(p + more, 3, 0)
    own = {member: alone(folds, member, more) for member in MEMBERS}

    def seconds_of(work: Callable[[], object]) -> float:
        start = perf_counter()
        work()
        return perf_counter() - start

    def one(member: Member) -> object:
        return cross_validate(lambda k: add_up([own[member][i] for i in k]), range(3), alphas)

    def ratio() -> tuple[float, float]:
        together = seconds_of(
            lambda: cross_validate_family(lambda k: add_up([folds[i] for i in k]), range(3), alphas, MEMBERS, more)
        )
        each = [seconds_of(lambda member=member: one(member)) for member in MEMBERS]  # type: ignore[misc]
        return together / median(each), sum(each) / together

    rounds = 3
    found = benchmark.pedantic(lambda: [ratio() for _ in range(rounds)], rounds=1)
    publish(
        f"ridge_family_over_one_ridge_{request.node.callspec.id}",
        median(over for over, _ in found),
        "times",
        "<= 1.5",
        note=f"Four ridges on the same {p} features (two targets, with and without {more} more), {len(alphas)} alphas, "
        "3 folds, solved together, over one of them alone.",
        details={"rounds": rounds, "each alone over together": median(saved for _, saved in found)},
    )
