"""What a run will hold in memory, estimated before it starts."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from harness.batching import batch_size_for, forward_bytes
from harness.caching import CachePlan, plan_cache
from harness.feature_cache import feature_bytes
from harness.metric_registry import METRICS
from harness.order import BLOCK
from harness.stream import Stream, StreamSettings
from harness.training import Classroom

if TYPE_CHECKING:
    from harness.cells import Group
    from harness.data.dataset import Dataset
    from harness.recipe import Recipe


@dataclass(frozen=True)
class Estimate:
    """Bytes of this process at the peak of one group of cells; on a GPU, of process and device together."""

    process: int
    """What the process holds already (libraries, the dataset's columns), and what it loads until the end."""
    statistics: int
    """Streamed statistics, gradient-trained heads."""
    solver: int
    """What the largest solve needs beside the statistics."""
    batch: int
    """One batch on its way through the network."""
    cache: CachePlan

    @property
    def total(self) -> int:
        """The batch is gone when cells are solved."""
        kept = self.cache.placement
        features = kept.device + kept.host if kept else 0
        return self.process + features + self.statistics + max(self.batch, self.solver)


def estimate(
    group: Group, recipe: Recipe, train: Dataset, test: Dataset, settings: StreamSettings, device: torch.device
) -> Estimate:
    """The peak of a group's training and scoring, from the shapes alone: nothing is loaded or run."""
    cells = {f"{i:016x}": cell for i, cell in enumerate(group.runnable)}
    classroom = Classroom(cells, Stream(train, settings, torch.device("cpu")), limit_s=recipe.cell_timeout_s)
    return Estimate(
        process=resident_bytes() + (LATER if group.backbone is not None else 0),
        statistics=classroom.expected_bytes(),
        solver=classroom.solving_bytes(),
        batch=max(
            _batch_bytes(group, train, settings, device),
            _batch_bytes(group, test, replace(settings, scales=recipe.input.test_scales), device),
        ),
        cache=plan_cache(
            recipe.cache, group.passes, group.layers, train, settings, device, calibrated=_calibrates(recipe)
        ),
    )


def _calibrates(recipe: Recipe) -> bool:
    return any(METRICS.get(name).scores == "log_density" for name in recipe.metrics)


def _batch_bytes(group: Group, split: Dataset, settings: StreamSettings, device: torch.device) -> int:
    size = max(split.sizes, key=lambda s: s[0] * s[1], default=(0, 0))
    input_size, grid = settings.largest_input_for(size), settings.grid_for(size)
    images = settings.batch_size or batch_size_for(input_size, group.layers, device, settings.precision)
    images = min(images, BLOCK, -(-len(split) // settings.folds))  # a batch holds images of one fold
    native = forward_bytes(input_size, group.layers, settings.precision)
    return images * (native + len(settings.scales) * feature_bytes(group.layers, input_size, grid))


LATER = 150 * 2**20
"""Libraries that write tables, pictures and runs, and copies of the weights in another precision."""


@cache
def resident_bytes() -> int:
    """This process' memory when first asked, before any run, where the system tells, else its peak."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """The most memory this process has held."""
    try:  # what the system says of this program: its ru_maxrss begins at the peak of the process that started it
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
