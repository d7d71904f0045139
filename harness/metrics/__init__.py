"""How well a map predicts gaze: pure batched functions on tensors, and a record of what each is.

Depends on torch alone. One file a metric; `harness.metric_registry` finds them (and a stranger's) by name.
"""

from __future__ import annotations

# A package's attribute is set to a submodule when that is first imported, so every submodule is imported before the
# function of the same name is bound, and `from harness.metrics import cc` is the function from then on.
from harness.metrics._maps import Density, FixationCounts
from harness.metrics._ranks import Ranks, rank
from harness.metrics._reasons import constant, why_unscored
from harness.metrics._record import Metric
from harness.metrics.auc import auc
from harness.metrics.auc_borji import auc_borji
from harness.metrics.auc_judd import auc_judd
from harness.metrics.auc_map import auc_map
from harness.metrics.cc import cc
from harness.metrics.ig import ig
from harness.metrics.kld import kld
from harness.metrics.mse import mse
from harness.metrics.nss import nss
from harness.metrics.sauc import sauc
from harness.metrics.sim import sim

__all__ = [
    "Density",
    "FixationCounts",
    "Metric",
    "Ranks",
    "auc",
    "auc_borji",
    "auc_judd",
    "auc_map",
    "cc",
    "constant",
    "ig",
    "kld",
    "mse",
    "nss",
    "rank",
    "sauc",
    "sim",
    "why_unscored",
]
