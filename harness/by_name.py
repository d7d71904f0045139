"""The parts of a run by name, for a notebook or a script: data, network, batches of features, a whole matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness._backbone import BACKBONES, Backbone
from harness.data.dataset import DATASETS, Dataset, Split
from harness.errors import UnknownNameError
from harness.machine import choose_device
from harness.plan import build, make_plan
from harness.progress import Silent
from harness.recipe import Entry, load_recipe, parse_recipe
from harness.run import run
from harness.stream import Stream, StreamSettings
from harness.types import LayerSpec


def open_dataset(reader: str, split: Split, **parameters: Any) -> Dataset:
    """One split of a dataset by its reader's name; raises UnknownNameError, RecipeError or DataError."""
    found: Dataset = build(DATASETS, Entry(name=reader, **parameters), "dataset").read(split)
    return found


def open_backbone(name: str, **parameters: Any) -> Backbone:
    """A network by name, its weights not loaded yet; raises UnknownNameError or RecipeError."""
    return build(BACKBONES, Entry(name=name, **parameters), "backbone")


def open_stream(
    dataset: Dataset,
    backbone: Backbone | None = None,
    layers: Sequence[str] = (),
    *,
    device: str = "auto",
    **settings: Any,
) -> Stream:
    """The images of a split on their way through a network: `.batches()` yields gaze and the features of those layers.

    Without a network batches carry gaze only. `settings` are those of StreamSettings. Raises UnknownNameError for a
    layer there is not, WeightsError.
    """
    where = choose_device(device)
    if backbone is None:
        return Stream(dataset, StreamSettings(**settings), where)
    chosen = _specs(backbone, layers)
    return Stream(dataset, StreamSettings(**settings), where, backbone.load(where), chosen)


def run_matrix(recipe: Mapping[str, Any] | str, out: str | Path) -> Path:
    """Run a recipe (a mapping, a name or a file) without tracking; the folder of its results.

    Raises what `salprobe run` tells in words, SalprobeError.
    """
    parsed = load_recipe(recipe) if isinstance(recipe, str) else parse_recipe(dict(recipe))
    return run(make_plan(parsed), Path(out), Silent()).folder


def _specs(backbone: Backbone, layers: Sequence[str]) -> tuple[LayerSpec, ...]:
    known = {layer.name: layer for layer in backbone.available_layers()}
    for name in layers:
        if name not in known:
            raise UnknownNameError(f"{backbone.label} has no layer {name!r}; it has {', '.join(known)}")
    return tuple(layer for name, layer in known.items() if name in layers)
