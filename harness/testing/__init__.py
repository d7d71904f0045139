"""The contract kit: what every plugin must keep, as small checks whose failures say what to do.

Each `check_*` returns its checks and raises ContractError if one failed; each `examine_*` only returns them.
"""

from __future__ import annotations

from harness.errors import ContractError
from harness.testing._backbones import check_backbone, examine_backbone
from harness.testing._checks import Check
from harness.testing._datasets import check_dataset, examine_dataset
from harness.testing._metrics import check_metric, examine_metric
from harness.testing._probes import check_probe, examine_probe

__all__ = [
    "Check",
    "ContractError",
    "check_backbone",
    "check_dataset",
    "check_metric",
    "check_probe",
    "examine_backbone",
    "examine_dataset",
    "examine_metric",
    "examine_probe",
]
