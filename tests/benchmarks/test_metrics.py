"""Time of each metric and of all of them together on 480x640 maps with 300 fixations, one thread.

Run with: pytest tests/benchmarks/test_metrics.py --benchmark-only
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.metrics import (
    Density,
    FixationCounts,
    auc,
    auc_borji,
    auc_judd,
    cc,
    ig,
    kld,
    nss,
    rank,
    sauc,
    sim,
)

HEIGHT, WIDTH, FIXATIONS, OTHERS = 480, 640, 300, 3000


@dataclass(frozen=True)
class Scene:
    maps: Tensor
    log_density: Tensor
    baseline: Tensor
    density: Density
    fixations: Tensor
    others: Tensor


def scene(batch: int) -> Scene:
    """Smooth maps as a linear readout makes them, fixations drawn mostly where they are high."""
    random = torch.Generator().manual_seed(0)
    rough = torch.randn(batch, 1, 30, 40, generator=random)
    maps = torch.nn.functional.interpolate(rough, (HEIGHT, WIDTH), mode="bilinear")[:, 0]
    log_density = maps.flatten(1).log_softmax(1).view_as(maps)
    blurred = log_density.exp() + 1e-7 * torch.rand(maps.shape, generator=random)
    uniform = torch.full_like(maps, -torch.log(torch.tensor(float(HEIGHT * WIDTH))).item())
    fixations, others = (_counts(maps, n, random) for n in (FIXATIONS, OTHERS))
    return Scene(maps, log_density, uniform, Density(blurred), fixations, others)


def _counts(maps: Tensor, n: int, random: torch.Generator) -> Tensor:
    drawn = torch.multinomial(maps.flatten(1).softmax(1), n, replacement=True, generator=random)
    counts = torch.zeros(len(maps), HEIGHT * WIDTH, dtype=torch.int32)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.int32)).view_as(maps)


def together(s: Scene) -> list[Tensor]:
    """All eight, as an evaluation computes them: fixated pixels and ranks found once."""
    fixations, others = FixationCounts(s.fixations), FixationCounts(s.others)
    ranks = rank(s.maps, fixations)
    return [
        cc(s.maps, s.density),
        sim(s.maps, s.density),
        kld(s.maps, s.density),
        nss(s.maps, fixations),
        auc(s.maps, fixations, ranks=ranks),
        auc_judd(s.maps, fixations, ranks=ranks),
        sauc(s.maps, fixations, others),
        ig(s.log_density, fixations, s.baseline),
    ]


def apart(s: Scene) -> list[Tensor]:
    """All eight from bare tensors, nothing shared."""
    return [metric(s) for name, metric in METRICS.items() if name not in ("auc_borji", "eight", "eight_apart")]


METRICS: dict[str, Callable[[Scene], Any]] = {
    "cc": lambda s: cc(s.maps, s.density),
    "sim": lambda s: sim(s.maps, s.density),
    "kld": lambda s: kld(s.maps, s.density),
    "nss": lambda s: nss(s.maps, s.fixations),
    "auc": lambda s: auc(s.maps, s.fixations),
    "auc_judd": lambda s: auc_judd(s.maps, s.fixations),
    "sauc": lambda s: sauc(s.maps, s.fixations, s.others),
    "ig": lambda s: ig(s.log_density, s.fixations, s.baseline),
    "auc_borji": lambda s: auc_borji(s.maps, s.fixations, generator=torch.Generator().manual_seed(0)),
    "eight": together,
    "eight_apart": apart,
}


pytestmark = pytest.mark.usefixtures("single")


@pytest.fixture(scope="module", params=[1, 64])
def data(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param)


@pytest.mark.parametrize("name", METRICS)
def test_time(benchmark: Any, publish: Callable[..., None], data: Scene, name: str) -> None:
    batch = len(data.maps)
    benchmark.group = f"batch of {batch}"
    benchmark.pedantic(METRICS[name], args=(data,), rounds=30 if batch == 1 else 3, warmup_rounds=1)
    if benchmark.stats is not None:
        ms_per_map = 1e3 * benchmark.stats["median"] / batch
        benchmark.extra_info["ms_per_map"] = round(ms_per_map, 3)
        if name == "eight" and batch > 1:
            what = f"All eight default metrics of a 480x640 map with {FIXATIONS} fixations, in batches of {batch}."
            publish(
                "eight_metrics_ms_per_map", ms_per_map, "ms", note=what, details={"rounds": benchmark.stats["rounds"]}
            )
