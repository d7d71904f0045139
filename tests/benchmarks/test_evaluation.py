"""The evaluation pass against the network's forward pass on the same images: 30 readouts, all eight metrics.

Run with: pytest tests/benchmarks/test_evaluation.py --benchmark-only
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from harness.calibration import Calibration
from harness.evaluation import evaluate
from harness.ground_truth import Pool
from harness.plan import make_plan
from harness.progress import Silent
from harness.readout import LinearReadout
from harness.recipe import parse_recipe
from harness.stream import Stream, StreamSettings
from harness.types import Batch

IMAGES, READOUTS = 16, 30
CPU = torch.device("cpu")


class Replayed(Stream):
    """A stream whose features are there already: what is left is the evaluation."""

    kept: list[Batch]

    def batches(self, epoch: int | None = None, rows: object = None) -> Iterator[Batch]:
        for batch in self.kept:
            yield batch.with_points(batch.points)  # ground truth is computed anew, as in a real pass


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_evaluation_over_forward(benchmark: BenchmarkFixture, publish: Callable[..., None], scale: float) -> None:
    recipe = parse_recipe(
        {
            "name": "evaluation",
            "dataset": {"reader": "demo", "train": 8, "test": IMAGES},
            "backbones": [{"name": "resnet50", "weights": "random"}],
            "layers": ["each"],
            "probes": ["ridge"],
        }
    )
    plan = make_plan(recipe)
    group = plan.groups[0]
    assert group.backbone is not None
    loaded = group.backbone.load(CPU)
    stream = Replayed(plan.reader.read("test"), StreamSettings(scale=scale), CPU, loaded, group.layers)
    forward = []
    for _ in range(4):
        start = time.perf_counter()
        stream.kept = list(Stream.batches(stream))
        forward.append(time.perf_counter() - start)

    random = torch.Generator().manual_seed(0)
    layers = [group.layers[i % len(group.layers)] for i in range(READOUTS)]
    readouts = {
        f"{i}": LinearReadout({layer.name: torch.randn(layer.channels, generator=random)}, 0.0)
        for i, layer in enumerate(layers)
    }
    pool = Pool(stream.dataset, CPU)
    calibrations = {key: Calibration(1.0, 0.5, pool) for key in readouts}

    def run() -> None:
        found = evaluate(readouts, stream, plan.metrics, Silent(), calibrations=calibrations)
        assert all(scores.error is None and len(scores.per_image) == IMAGES for scores in found.values())

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    benchmark.extra_info["forward_s_per_image"] = statistics.median(forward[1:]) / IMAGES
    benchmark.extra_info["evaluation_over_forward"] = benchmark.stats.stats.median / statistics.median(forward[1:])
    benchmark.extra_info["ms_per_map"] = benchmark.stats.stats.median / IMAGES / READOUTS * 1e3
    publish(
        "evaluation_over_forward" + ("" if scale == 1 else "_half_size"),
        benchmark.extra_info["evaluation_over_forward"],
        "times",
        note=f"Scoring {READOUTS} readouts with the 8 default metrics over the stream's pass (decoding included) on "
        f"the same {IMAGES} images of 480x640, network input scale {scale:g}.",
        details={"rounds": 5, **benchmark.extra_info},
    )
