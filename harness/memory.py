"""What a run will hold in memory, estimated before it starts."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from harness.feature_cache import feature_bytes
from harness.stream import Stream, StreamSettings
from harness.training import Classroom
from harness.units import GIB

if TYPE_CHECKING:
    from harness.data.dataset import Dataset
    from harness.plan import Group
    from harness.recipe import Recipe

LAYERS_ALIVE = 4
"""A forward pass holds about so many of its largest feature map at once (input, two inside a block, output)."""


@dataclass(frozen=True)
class Estimate:
    """Bytes at the peak of one group of cells."""

    process: int
    """What the process holds already: libraries, the dataset's columns."""
    statistics: int
    """Streamed statistics, solver, gradient-trained heads."""
    cache: int
    """Features kept between passes; 0 where they do not fit the budget and the backbone runs again."""
    cache_wanted: int
    """What the cache would need."""
    batch: int
    """One batch on its way through the network."""

    @property
    def total(self) -> int:
        """Everything at once."""
        return self.process + self.statistics + self.cache + self.batch


def estimate(group: Group, recipe: Recipe, train: Dataset, settings: StreamSettings) -> Estimate:
    """The peak of a group's training, from the shapes alone: nothing is loaded or run."""
    cells = {f"{i:016x}": cell for i, cell in enumerate(group.runnable)}
    statistics = Classroom(cells, Stream(train, settings, torch.device("cpu"))).expected_bytes()
    size = max((train.size(i) for i in range(len(train))), key=lambda s: s[0] * s[1], default=(0, 0))
    input_size, grid = settings.input_for(size), settings.grid_for(size)
    per_image = feature_bytes(group.layers, input_size, grid)
    wanted = per_image * len(train) if group.passes > 1 else 0
    largest = max((feature_bytes([layer], input_size, input_size) for layer in group.layers), default=0)
    native = feature_bytes(group.layers, input_size, input_size)
    batch = recipe.batch_size * (native + per_image + LAYERS_ALIVE * largest)
    fits = cache_fits(wanted, recipe)
    return Estimate(resident_bytes(), statistics, wanted if fits else 0, wanted, batch)


def cache_fits(wanted: int, recipe: Recipe) -> bool:
    """Whether the features of all training images may be kept between passes."""
    return 0 < wanted <= recipe.cache.budget_gib * GIB


@cache
def resident_bytes() -> int:
    """This process' memory when first asked, before any run, where the system tells, else its peak."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """The most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
