"""How much of where humans look can be read out linearly from a frozen network? The engine of the harness."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness._backbone import Backbone, LoadedBackbone, Preprocessing, Weights, backbone
    from harness._plugin import added
    from harness._probe import Consumer, Context, Probe, Trainer, probe
    from harness.by_name import open_backbone, open_dataset, open_stream, run_matrix
    from harness.data.dataset import Dataset, DatasetReader, Split, dataset
    from harness.data.source import Source
    from harness.errors import DataError, PluginError, SalprobeError, WeightsError
    from harness.metric_registry import metric
    from harness.metrics import Density, FixationCounts, Metric
    from harness.module_backbone import IMAGENET, ModuleBackbone
    from harness.plain import PlainProbe
    from harness.readout import LinearReadout, MapReadout, Readout
    from harness.readout_files import load_readout, save_readout
    from harness.results import read_cells
    from harness.stream import Stream, StreamSettings
    from harness.types import Batch, LayerSpec, Points

# Lazy, so that `salprobe --help` does not pay for torch.
_HOMES = {
    "harness._backbone": ("Backbone", "LoadedBackbone", "Preprocessing", "Weights", "backbone"),
    "harness._plugin": ("added",),
    "harness._probe": ("Consumer", "Context", "Probe", "Trainer", "probe"),
    "harness.by_name": ("open_backbone", "open_dataset", "open_stream", "run_matrix"),
    "harness.data.dataset": ("Dataset", "DatasetReader", "Split", "dataset"),
    "harness.data.source": ("Source",),
    "harness.errors": ("DataError", "PluginError", "SalprobeError", "WeightsError"),
    "harness.metric_registry": ("metric",),
    "harness.metrics": ("Density", "FixationCounts", "Metric"),
    "harness.module_backbone": ("IMAGENET", "ModuleBackbone"),
    "harness.plain": ("PlainProbe",),
    "harness.readout": ("LinearReadout", "MapReadout", "Readout"),
    "harness.readout_files": ("load_readout", "save_readout"),
    "harness.results": ("read_cells",),
    "harness.stream": ("Stream", "StreamSettings"),
    "harness.types": ("Batch", "LayerSpec", "Points"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "IMAGENET",
    "Backbone",
    "Batch",
    "Consumer",
    "Context",
    "DataError",
    "Dataset",
    "DatasetReader",
    "Density",
    "FixationCounts",
    "LayerSpec",
    "LinearReadout",
    "LoadedBackbone",
    "MapReadout",
    "Metric",
    "ModuleBackbone",
    "PlainProbe",
    "PluginError",
    "Points",
    "Preprocessing",
    "Probe",
    "Readout",
    "SalprobeError",
    "Source",
    "Split",
    "Stream",
    "StreamSettings",
    "Trainer",
    "Weights",
    "WeightsError",
    "added",
    "backbone",
    "dataset",
    "load_readout",
    "metric",
    "open_backbone",
    "open_dataset",
    "open_stream",
    "probe",
    "read_cells",
    "run_matrix",
    "save_readout",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value
