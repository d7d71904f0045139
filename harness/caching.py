"""The feature cache of one group of cells: whether there is one, where it lies, what it is keyed by."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.distributed import is_mine, local_size, rank, size
from harness.feature_cache import FeatureCache, Keep, Placement, Tier, feature_bytes, itemsize, plan_tiers
from harness.paths import cache_folder
from harness.units import GIB, gib

if TYPE_CHECKING:
    import torch

    from harness._backbone import LoadedBackbone
    from harness.data.dataset import Dataset
    from harness.recipe import Cache
    from harness.stream import StreamSettings
    from harness.types import LayerSpec


@dataclasses.dataclass(frozen=True)
class CachePlan:
    """What one group's features would take, and where they go."""

    wanted: int
    """Bytes of this process' share; 0 where no pass but the first is expected and nothing is to be kept."""
    placement: Placement | None
    """None: nothing is kept, the backbone runs in every pass."""

    def __str__(self) -> str:
        if not self.wanted:
            return "no feature cache"
        if self.placement is None:
            return f"a feature cache of {gib(self.wanted)} does not fit, the backbone runs in every pass"
        return f"feature cache {self.placement}"


def plan_cache(
    cache: Cache,
    passes: int,
    layers: tuple[LayerSpec, ...],
    train: Dataset,
    settings: StreamSettings,
    device: torch.device,
) -> CachePlan:
    """Whether and where the features of this process' training images are kept between passes."""
    per_size = {
        size: feature_bytes(layers, settings.input_for(size), settings.grid_for(size), itemsize(cache.precision))
        for size in set(map(train.size, range(len(train))))
    }
    wanted = sum(per_size[train.size(row)] for row in range(len(train)) if is_mine(row))
    if not layers or (passes < 2 and not cache.keep):
        return CachePlan(0, None)
    share = int(cache.budget_gib * GIB) // local_size()
    tiers: list[Tier] = ["disk"] if cache.keep else cache.tiers
    return CachePlan(wanted, plan_tiers(wanted, share, device, tiers, _folder(cache), processes=local_size()))


def open_cache(
    cache: Cache,
    plan: CachePlan,
    layers: tuple[LayerSpec, ...],
    train: Dataset,
    settings: StreamSettings,
    loaded: LoadedBackbone,
) -> FeatureCache | None:
    """The cache that was planned, or the kept one of an earlier run, complete at once."""
    facts = cache_facts(cache, layers, train, settings, loaded)
    if cache.keep and (kept := FeatureCache.reopen(_folder(cache), facts)):
        return kept
    if plan.placement is None:
        return None
    mine = {row: train.size(row) for row in range(len(train)) if is_mine(row)}
    keep = Keep(facts, int(cache.budget_gib * GIB)) if cache.keep else None
    return FeatureCache(mine, plan.placement, cache.precision, loaded.device, _folder(cache), keep)


def cache_facts(
    cache: Cache, layers: tuple[LayerSpec, ...], train: Dataset, settings: StreamSettings, loaded: LoadedBackbone
) -> dict[str, Any]:
    """Everything that can change a kept feature, and whose share of the images it is."""
    return {
        "weights": loaded.weights.sha256,
        "preprocessing": dataclasses.asdict(loaded.preprocessing),
        "network": type(loaded).__qualname__,
        "layers": [dataclasses.asdict(layer) for layer in layers],
        "input": {"scale": settings.scale, "size": settings.size},
        "grid": settings.grid,
        "network_precision": settings.precision,
        "precision": cache.precision,
        "data": train.digest,
        "share": [rank(), size()],
    }


def _folder(cache: Cache) -> Path:
    return Path(cache.folder).expanduser().absolute() if cache.folder else cache_folder("features")
