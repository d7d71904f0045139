"""Features kept between the passes of a training, on the device, the host and disk, under one explicit budget.

    placement = plan_tiers(wanted, budget, device, ("device", "host", "disk"), folder)   # None: it does not fit
    cache = FeatureCache({row: size of its stimulus}, placement, "fp16", device, folder)
    cache.put(rows, features) ... cache.close()     # the first pass
    cache.get(rows, device)                         # every later one
    cache.discard()

With `keep=Keep(facts, budget)` the files outlive the process: `FeatureCache.reopen(folder, facts)` finds them.
"""

from harness.feature_cache._cache import FeatureCache
from harness.feature_cache._free import free_bytes
from harness.feature_cache._kept import Keep, cache_key
from harness.feature_cache._placement import TIERS, Placement, Tier, plan_tiers
from harness.feature_cache._precision import Precision, feature_bytes, itemsize, rounded

__all__ = [
    "TIERS",
    "FeatureCache",
    "Keep",
    "Placement",
    "Precision",
    "Tier",
    "cache_key",
    "feature_bytes",
    "free_bytes",
    "itemsize",
    "plan_tiers",
    "rounded",
]
