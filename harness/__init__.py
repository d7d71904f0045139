"""How much of where humans look can be read out linearly from a frozen network? The engine of the harness."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness._backbone import Backbone, LoadedBackbone, Preprocessing, Weights, backbone
    from harness._probe import Consumer, Context, Probe, Trainer, probe
    from harness.errors import SalprobeError
    from harness.plain import PlainProbe
    from harness.readout import LinearReadout, MapReadout, Readout, load_readout, save_readout
    from harness.types import Batch, LayerSpec, Points

# Lazy, so that `salprobe --help` does not pay for torch.
_HOMES = {
    "harness._backbone": ("Backbone", "LoadedBackbone", "Preprocessing", "Weights", "backbone"),
    "harness.errors": ("SalprobeError",),
    "harness._probe": ("Consumer", "Context", "Probe", "Trainer", "probe"),
    "harness.plain": ("PlainProbe",),
    "harness.readout": ("LinearReadout", "MapReadout", "Readout", "load_readout", "save_readout"),
    "harness.types": ("Batch", "LayerSpec", "Points"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Backbone",
    "Batch",
    "Consumer",
    "Context",
    "LayerSpec",
    "LinearReadout",
    "LoadedBackbone",
    "MapReadout",
    "PlainProbe",
    "Points",
    "Preprocessing",
    "Probe",
    "Readout",
    "SalprobeError",
    "Trainer",
    "Weights",
    "backbone",
    "load_readout",
    "probe",
    "save_readout",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value
