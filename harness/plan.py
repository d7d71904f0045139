"""Recipe -> a frozen list of cells, grouped by the backbone whose pass feeds them."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness._backbone import BACKBONES, Backbone
from harness._probe import PROBES, Probe
from harness.cells import NO_BACKBONE, Cell, Group
from harness.data.dataset import DATASETS, DatasetReader
from harness.errors import RecipeError
from harness.metric_registry import METRICS
from harness.metrics import Metric
from harness.recipe import Entry, LayeredEntry, LayerSet, Recipe, describe
from harness.registry import Registry
from harness.types import LayerSpec

P = TypeVar("P")


@dataclass(frozen=True)
class Plan:
    """What a run will do."""

    recipe: Recipe
    reader: DatasetReader
    groups: tuple[Group, ...]
    metrics: tuple[Metric, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, group after group."""
        return tuple(cell for group in self.groups for cell in group.cells)


def make_plan(recipe: Recipe) -> Plan:
    """Resolve every name and parameter of a recipe; raises RecipeError, UnknownNameError or PluginError."""
    reader = build(DATASETS, recipe.dataset, "dataset")
    metrics = tuple(METRICS.get(name) for name in recipe.metrics)
    probes = list(_probes(recipe))
    backbones = [
        (variant, entry)
        for index, entry in enumerate(recipe.backbones)
        for variant in _variants(BACKBONES, entry, f"backbones.{index}")
    ]
    groups = []
    gaze_cells = tuple(
        Cell(reader.label, NO_BACKBONE, NO_BACKBONE, NO_BACKBONE, (), label, probe, recipe.seed)
        for label, probe, _ in probes
        if probe.reads == "gaze"
    )
    if gaze_cells:
        groups.append(Group(None, gaze_cells))
    known = {layer.name for backbone, _ in backbones for layer in backbone.available_layers()}
    for backbone, entry in backbones:
        cells = tuple(_layer_cells(recipe, reader, backbone, entry, probes, known))
        groups.append(Group(backbone, cells))
    if not backbones and any(probe.reads == "layers" for _, probe, _ in probes):
        names = ", ".join(label for label, probe, _ in probes if probe.reads == "layers")
        raise RecipeError(f"backbones: the probes {names} read layers, but the recipe names no backbone")
    return Plan(recipe, reader, tuple(groups), metrics)


def build(registry: Registry[type[P]], entry: Entry, place: str) -> P:
    """The plugin of an entry with its parameters validated; raises RecipeError naming the parameter."""
    cls = registry.get(entry.name)
    try:
        return TypeAdapter(cls).validate_python(entry.parameters)
    except ValidationError as error:
        known = ", ".join(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
        message = f"{describe(error, place)}\n  ({registry.kind} {entry.name} has the parameters: {known})"
        raise RecipeError(message) from error


def _variants(registry: Registry[type[P]], entry: Entry, place: str) -> Iterator[P]:
    """The entry's plugin for every combination of its swept parameters, in the order of the recipe."""
    cls = registry.get(entry.name)
    types = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    swept = {
        key: value
        for key, value in entry.parameters.items()
        if isinstance(value, list) and key in types and not _takes_list(cls, key, value)
    }
    for values in itertools.product(*swept.values()):
        chosen = dict(zip(swept, values, strict=True))
        parameters = {**entry.parameters, **chosen}
        for one in cls.sweep(parameters) if issubclass(cls, Probe) else [parameters]:
            yield build(registry, Entry(name=entry.name, **one), place)


def _takes_list(cls: type, field: str, value: list[Any]) -> bool:
    """Whether the list itself is a valid value of that field (then it is not a sweep)."""
    try:
        TypeAdapter(cls).validate_python({field: value})
    except ValidationError as error:
        return not any(item["loc"] and item["loc"][0] == field for item in error.errors())
    return True


def _probes(recipe: Recipe) -> Iterator[tuple[str, Probe, list[LayerSet] | None]]:
    """(label, probe, its own layer sets) of every probe and sweep; equal labels are told apart by what differs."""
    found = [
        (probe, entry.layers)
        for index, entry in enumerate(recipe.probes)
        for probe in _variants(PROBES, entry, f"probes.{index}")
    ]
    for probe, layers in found:
        twins = [other for other, _ in found if other.label == probe.label and type(other) is type(probe)]
        differing = [
            f"{field.name}={getattr(probe, field.name)}"
            for field in dataclasses.fields(probe)  # type: ignore[arg-type]
            if len({str(getattr(twin, field.name)) for twin in twins}) > 1
        ]
        yield probe.label + (f"[{','.join(differing)}]" if differing else ""), probe, layers


def _layer_cells(
    recipe: Recipe,
    reader: DatasetReader,
    backbone: Backbone,
    entry: LayeredEntry,
    probes: Sequence[tuple[str, Probe, list[LayerSet] | None]],
    known: set[str],
) -> Iterator[Cell]:
    for label, probe, own_layers in probes:
        if probe.reads != "layers":
            continue
        for layer_set in _expand(own_layers or entry.layers or recipe.layers, backbone):
            name, layers, missing = _resolve(layer_set, backbone, known)
            skip = f"{backbone.label} has no layer {missing}" if missing else probe.skip(layers)
            depth = backbone.depth(layers[0].name) if len(layers) == 1 else None
            yield Cell(
                reader.label, backbone.label, backbone.weights, name, layers, label, probe, recipe.seed, skip, depth
            )


def _expand(layer_sets: list[LayerSet], backbone: Backbone) -> Iterator[LayerSet]:
    """`each` stands for every stage alone, `blocks` for every available layer alone."""
    for layer_set in layer_sets:
        if layer_set == "each":
            yield from backbone.stages()
        elif layer_set == "blocks":
            yield from (layer.name for layer in backbone.available_layers())
        else:
            yield layer_set


def _resolve(layer_set: LayerSet, backbone: Backbone, known: set[str]) -> tuple[str, tuple[LayerSpec, ...], str | None]:
    """(label, layers shallow to deep, the first layer this backbone lacks)."""
    names = list(backbone.stages()) if layer_set == "all" else [layer_set] if isinstance(layer_set, str) else layer_set
    available = {layer.name: layer for layer in backbone.available_layers()}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.4)
            raise RecipeError(
                f"layers: no backbone of the recipe has a layer {name!r}; did you mean {' or '.join(near) or 'all'}?"
            )
    label = layer_set if isinstance(layer_set, str) else "+".join(layer_set)
    missing = next((name for name in names if name not in available), None)
    chosen = set(names)
    return label, tuple(layer for name, layer in available.items() if name in chosen), missing
