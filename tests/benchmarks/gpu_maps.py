"""The eight default metrics on a device: inputs, all of them together, the time of each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.metrics import Density, FixationCounts, auc, auc_judd, cc, ig, kld, nss, rank, sauc, sim
from harness.types import Size
from tests.benchmarks.gpu_card import seconds

Inputs = dict[str, Tensor]


def inputs(batch: int, size: Size, fixations: int, others: int) -> Inputs:
    """Smooth maps, densities, an image's fixations and about as many of `others`; seeded, on the CPU."""
    random = torch.Generator().manual_seed(0)
    rough = torch.randn(batch, 1, 15, 20, generator=random)
    maps = torch.nn.functional.interpolate(rough, size, mode="bilinear")[:, 0].contiguous()
    log_density = maps.flatten(1).log_softmax(1).view_as(maps)

    drawn = torch.multinomial(log_density.flatten(1).exp(), fixations, replacement=True, generator=random)
    counts = torch.zeros(batch, maps[0].numel(), dtype=torch.int32)
    counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.int32))
    # of a large split nearly every pixel was looked at on some other image
    pool = torch.poisson(others * log_density.exp().mean(0), generator=random).int()
    return {
        "maps": maps,
        "density": log_density.exp() + 1e-7 * torch.rand(maps.shape, generator=random),
        "log_density": log_density,
        "baseline": torch.full_like(maps, -float(torch.tensor(float(maps[0].numel())).log())),
        "fixations": counts.view_as(maps),
        "others": pool.expand_as(maps).contiguous(),
    }


def eight(x: Inputs) -> dict[str, Tensor]:
    """All eight metrics of a batch; ranks and ground truth are shared as the evaluation shares them."""
    density, fixations, others = Density(x["density"]), FixationCounts(x["fixations"]), FixationCounts(x["others"])
    ranks = rank(x["maps"], fixations)
    return {
        **{metric.__name__: metric(x["maps"], density) for metric in (cc, sim, kld)},
        "nss": nss(x["maps"], fixations),
        **{metric.__name__: metric(x["maps"], fixations, ranks=ranks) for metric in (auc, auc_judd)},
        "sauc": sauc(x["maps"], fixations, others),
        "ig": ig(x["log_density"], fixations, x["baseline"]),
    }


def differences_from_cpu(x: Inputs, device: torch.device) -> dict[str, float]:
    """The largest difference of each metric between that device and the CPU."""
    expected, found = eight(x), eight({name: values.to(device) for name, values in x.items()})
    return {name: (found[name].cpu() - expected[name]).abs().max().item() for name in expected}


def maps_a_second(x: Inputs, device: torch.device, rounds: int) -> tuple[float, dict[str, float]]:
    """Maps a second through all eight, one ground truth serving many maps as in a run; milliseconds a map by metric."""
    there = {name: values.to(device) for name, values in x.items()}
    maps, log_density, baseline = there["maps"], there["log_density"], there["baseline"]
    density, fixations = Density(there["density"]), FixationCounts(there["fixations"])
    others = FixationCounts(there["others"])
    ranks = rank(maps, fixations)
    parts: dict[str, Callable[[], Tensor]] = {
        "cc": lambda: cc(maps, density),
        "sim": lambda: sim(maps, density),
        "kld": lambda: kld(maps, density),
        "nss": lambda: nss(maps, fixations),
        "ranks": lambda: rank(maps, fixations).below,
        "auc": lambda: auc(maps, fixations, ranks=ranks),
        "auc_judd": lambda: auc_judd(maps, fixations, ranks=ranks),
        "sauc": lambda: sauc(maps, fixations, others),
        "ig": lambda: ig(log_density, fixations, baseline),
    }
    each = {name: 1e3 * seconds(part, device, rounds) / len(maps) for name, part in parts.items()}
    together = seconds(lambda: torch.stack([part().sum().double() for part in parts.values()]).tolist(), device, rounds)
    return len(maps) / together, each
