"""The eight metrics on an accelerator: agreement with the CPU, and maps a second. Needs torch and numpy only.

Run from the project's root: python -m tests.benchmarks.gpu [--device cuda] [--batch 64] [--rounds 20]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from harness.metrics import Density, FixationCounts, auc, auc_judd, cc, ig, kld, nss, rank, sauc, sim
from tests.benchmarks import published
from tests.benchmarks.machine import describe

HEIGHT, WIDTH, FIXATIONS, OTHERS = 480, 640, 300, 3000


def inputs(batch: int) -> dict[str, Tensor]:
    """Smooth maps, densities and fixations, seeded, on the CPU."""
    random = torch.Generator().manual_seed(0)
    rough = torch.randn(batch, 1, 15, 20, generator=random)
    maps = torch.nn.functional.interpolate(rough, (HEIGHT, WIDTH), mode="bilinear")[:, 0].contiguous()
    log_density = maps.flatten(1).log_softmax(1).view_as(maps)

    def counts(n: int) -> Tensor:
        drawn = torch.multinomial(log_density.flatten(1).exp(), n, replacement=True, generator=random)
        zeros = torch.zeros(batch, HEIGHT * WIDTH, dtype=torch.int32)
        return zeros.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.int32)).view_as(maps)

    baseline = torch.full_like(maps, -float(torch.tensor(float(HEIGHT * WIDTH)).log()))
    return {
        "maps": maps,
        "density": log_density.exp() + 1e-7 * torch.rand(maps.shape, generator=random),
        "log_density": log_density,
        "baseline": baseline,
        "fixations": counts(FIXATIONS),
        "others": counts(OTHERS),
    }


def eight(x: dict[str, Tensor]) -> dict[str, Tensor]:
    """All eight metrics of a batch; ranks are shared as the evaluation shares them."""
    density, fixations, others = Density(x["density"]), FixationCounts(x["fixations"]), FixationCounts(x["others"])
    ranks = rank(x["maps"], fixations)
    return {
        **{metric.__name__: metric(x["maps"], density) for metric in (cc, sim, kld)},
        "nss": nss(x["maps"], fixations),
        **{metric.__name__: metric(x["maps"], fixations, ranks=ranks) for metric in (auc, auc_judd)},
        "sauc": sauc(x["maps"], fixations, others),
        "ig": ig(x["log_density"], fixations, x["baseline"]),
    }


def main() -> None:
    """Print agreement and speed as JSON; exit 1 where the devices disagree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--publish-to", type=Path, help="folder whose benchmarks.json and .md take the speed")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    here = inputs(chosen.batch)
    there = {name: values.to(device) for name, values in here.items()}
    expected, found = eight(here), eight(there)
    differences = {name: (found[name].cpu() - expected[name]).abs().max().item() for name in expected}
    seconds = []
    for _ in range(chosen.rounds):
        start = time.perf_counter()
        eight(there)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    speed = chosen.batch / statistics.median(seconds)
    print(
        json.dumps({"machine": name, "maps_per_s": round(speed), "largest_difference_from_cpu": differences}, indent=1)
    )
    if chosen.publish_to is not None:
        details = {"rounds": chosen.rounds, "largest_difference_from_cpu": differences}
        what = f"All eight default metrics of a {HEIGHT}x{WIDTH} map on an accelerator, in batches of {chosen.batch}."
        one = published.entry(
            "eight_metrics_maps_per_s_accelerator", speed, "maps/s", None, describe(), note=what, details=details
        )
        published.write(chosen.publish_to, [one])
    raise SystemExit(max(differences.values()) > 1e-4)


if __name__ == "__main__":
    main()
