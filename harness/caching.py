"""The feature cache of one group of cells: whether there is one, where it lies, what it is keyed by."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.calibration import calibration_rows
from harness.distributed import is_mine, local_size, rank, size
from harness.feature_cache import FeatureCache, Keep, Placement, Tier, feature_bytes, itemsize, plan_tiers
from harness.paths import cache_folder, expanded
from harness.units import GIB, gib

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Bytes of this process' share of all images; 0 where no pass but the first is expected and nothing is kept."""
    rows: tuple[int, ...] = ()
    """The images that are kept: all of this process, or, where that is not asked for or does not fit, those that
    densities are calibrated on."""
    placement: Placement | None = None
    """Where they go; None: nowhere."""
    serves_training: bool = False
    """Whether these are all images, so that passes after the first (or a later run) come from the cache."""

    def __str__(self) -> str:
        kept = f"feature cache {self.placement}" if self.placement is not None else "no feature cache"
        if self.wanted and not self.serves_training:
            return f"a feature cache of {gib(self.wanted)} does not fit, the backbone runs in every pass"
        return kept


def plan_cache(
    cache: Cache,
    passes: int,
    layers: tuple[LayerSpec, ...],
    train: Dataset,
    settings: StreamSettings,
    device: torch.device,
    *,
    calibrated: bool = False,
) -> CachePlan:
    """Whether and where the features of this process' training images are kept between passes.

    `calibrated`: some images will be read once more after the training, to turn maps into densities.
    """
    per_size = {
        size: feature_bytes(layers, settings.input_for(size), settings.grid_for(size), itemsize(cache.precision))
        for size in train.sizes
    }

    def placed(rows: tuple[int, ...], tiers: list[Tier]) -> tuple[int, Placement | None]:
        wanted = sum(per_size[train.size(row)] for row in rows)
        share = int(cache.budget_gib * GIB) // local_size()
        return wanted, plan_tiers(wanted, share, device, tiers, _folder(cache), processes=local_size())

    if not layers:
        return CachePlan(0)
    wanted = 0
    if passes > 1 or cache.keep:
        rows = tuple(filter(is_mine, range(len(train))))
        wanted, placement = placed(rows, ["disk"] if cache.keep else cache.tiers)
        if placement is not None:
            return CachePlan(wanted, rows, placement, serves_training=True)
    rows = tuple(filter(is_mine, calibration_rows(len(train), settings.seed))) if calibrated else ()
    return CachePlan(wanted, rows, placed(rows, cache.tiers)[1])


def open_cache(
    cache: Cache,
    plan: CachePlan,
    layers: tuple[LayerSpec, ...],
    train: Dataset,
    settings: StreamSettings,
    loaded: LoadedBackbone,
    made_by: Sequence[object],
) -> FeatureCache | None:
    """The cache that was planned, or the kept one of an earlier run, complete at once.

    `made_by`: what makes two networks of the same weights different, JSON-able.
    """
    facts = cache_facts(cache, layers, train, settings, loaded, made_by)
    if cache.keep and (kept := FeatureCache.reopen(_folder(cache), facts)):
        return kept
    if plan.placement is None:
        return None
    kept_images = {row: train.size(row) for row in plan.rows}
    keep = Keep(facts, int(cache.budget_gib * GIB)) if cache.keep and plan.serves_training else None
    return FeatureCache(kept_images, plan.placement, cache.precision, loaded.device, _folder(cache), keep)


def cache_facts(
    cache: Cache,
    layers: tuple[LayerSpec, ...],
    train: Dataset,
    settings: StreamSettings,
    loaded: LoadedBackbone,
    made_by: Sequence[object],
) -> dict[str, Any]:
    """Everything that can change a kept feature, and whose share of the images it is."""
    return {
        "made_by": list(made_by),
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
    return expanded(cache.folder).absolute() if cache.folder else cache_folder("features")
