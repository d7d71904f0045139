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
from harness._plugin import default_of
from harness._probe import PROBES, Probe
from harness.blame import blaming, message_of
from harness.broken import BrokenProbe, broken_probe
from harness.cells import NO_BACKBONE, Cell, Group
from harness.crossing import data_label
from harness.data.dataset import DATASETS, DatasetReader, Split
from harness.errors import RecipeError
from harness.metric_registry import METRICS
from harness.metrics import Metric
from harness.module_backbone import asked_weights
from harness.plugin_files import digests, load_plugins
from harness.recipe import Entry, LayeredEntry, LayerSet, Recipe
from harness.recipe_mistakes import describe
from harness.registry import Registry
from harness.types import LayerSpec

P = TypeVar("P")
Found = tuple[str, Probe, list[LayerSet] | None]
"""A probe's label, the probe, the layer sets that are its own."""


@dataclass(frozen=True)
class Plan:
    """What a run will do."""

    recipe: Recipe
    reader: DatasetReader
    """Of the training images."""
    test_reader: DatasetReader
    """Of the held-out images: the same one, unless the recipe tests on another dataset."""
    groups: tuple[Group, ...]
    metrics: tuple[Metric, ...]

    def reader_of(self, split: Split) -> DatasetReader:
        """Who reads that split."""
        return self.reader if split == "train" else self.test_reader

    @property
    def data_label(self) -> str:
        """What tables call the data: the dataset, or "trained on -> tested on"."""
        return data_label(self.recipe, self.reader, self.test_reader)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, group after group."""
        return tuple(cell for group in self.groups for cell in group.cells)


def make_plan(recipe: Recipe) -> Plan:
    """Resolve every name and parameter of a recipe; raises RecipeError, UnknownNameError or PluginError.

    A probe or backbone that is broken itself takes down its own cells only.
    """
    load_plugins(recipe.plugins)
    reader, test_reader = readers(recipe)
    data = data_label(recipe, reader, test_reader)
    metrics = tuple(METRICS.get(name) for name in recipe.metrics)
    probes = list(_probes(recipe))
    backbones = [found for index, entry in enumerate(recipe.backbones) for found in _backbones(entry, index)]
    groups = []
    gaze_cells = tuple(
        Cell(data, NO_BACKBONE, NO_BACKBONE, NO_BACKBONE, (), label, probe, recipe.seed, **_fault(probe))
        for label, probe, _ in probes
        if probe.reads == "gaze"
    )
    if gaze_cells:
        groups.append(Group(None, gaze_cells))
    sound = [backbone for backbone, _ in backbones if isinstance(backbone, Backbone)]
    known = {layer.name for backbone in sound for layer in backbone.available_layers()}
    for backbone, entry in backbones:
        if isinstance(backbone, Backbone):
            anywhere = known if len(sound) == len(backbones) else None
            groups.append(Group(backbone, tuple(_layer_cells(recipe, data, backbone, entry, probes, anywhere))))
        else:
            groups.append(Group(None, tuple(_lost_cells(recipe, data, backbone, entry, probes))))
    if not backbones and any(probe.reads == "layers" for _, probe, _ in probes):
        names = ", ".join(label for label, probe, _ in probes if probe.reads == "layers")
        raise RecipeError(f"backbones: the probes {names} read layers, but the recipe names no backbone")
    made_of, bounds = [reader, test_reader, *metrics], _bounds([probe for _, probe, _ in probes])
    return Plan(recipe, reader, test_reader, tuple(_completed(group, made_of, bounds) for group in groups), metrics)


def readers(recipe: Recipe) -> tuple[DatasetReader, DatasetReader]:
    """(of the training images, of the held-out images); raises RecipeError naming the parameter."""
    reader = build(DATASETS, recipe.dataset, "dataset")
    if not recipe.crosses:
        return reader, reader
    return reader, build(DATASETS, recipe.held_out, "test_dataset")


def build(registry: Registry[type[P]], entry: Entry, place: str) -> P:
    """The plugin of an entry with its parameters validated; raises RecipeError naming the parameter."""
    cls = registry.get(entry.name)
    with blaming(f"{registry.kind} {entry.name}"):
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


def _probes(recipe: Recipe) -> Iterator[Found]:
    """(label, probe, its own layer sets) of every probe and sweep.

    Equal labels are told apart by what differs. A probe without a label of its own says what is not as by default, so
    that it is called the same in every recipe.
    """
    found = [
        (probe, entry.layers)
        for index, entry in enumerate(recipe.probes)
        for probe in _sound_probes(entry, index, has_backbones=bool(recipe.backbones))
    ]
    for probe, layers in found:
        twins = [other for other, _ in found if other.label == probe.label and type(other) is type(probe)]
        told = [
            f"{field.name}={getattr(probe, field.name)}"
            for field in dataclasses.fields(probe)  # type: ignore[arg-type]
            if len({str(getattr(twin, field.name)) for twin in twins}) > 1
            or (type(probe).label is Probe.label and getattr(probe, field.name) != default_of(field))
        ]
        yield probe.label + (f"[{','.join(told)}]" if told else ""), probe, layers


def _sound_probes(entry: LayeredEntry, index: int, *, has_backbones: bool) -> list[Probe]:
    """The entry's probes; one that stands for them where the plugin is broken."""
    try:
        probes = list(_variants(PROBES, entry, f"probes.{index}"))
        for probe in probes:
            _ = probe.label, probe.passes()
    except RecipeError:
        raise
    except Exception as error:
        return [broken_probe(entry.name, message_of(error), has_backbones=has_backbones)]
    return probes


def _backbones(entry: LayeredEntry, index: int) -> list[tuple[Backbone | str, LayeredEntry]]:
    """The entry's backbones; the error in words where the plugin is broken."""
    try:
        backbones = list(_variants(BACKBONES, entry, f"backbones.{index}"))
        for backbone in backbones:
            _ = backbone.label, backbone.available_layers(), backbone.stages(), backbone.blocks()
    except RecipeError:
        raise
    except Exception as error:
        return [(message_of(error), entry)]
    return [(backbone, entry) for backbone in backbones]


def _fault(probe: Probe) -> dict[str, Any]:
    return {"skip": probe.error, "broken": True} if isinstance(probe, BrokenProbe) else {}


def _lost_cells(recipe: Recipe, data: str, error: str, entry: LayeredEntry, probes: Sequence[Found]) -> Iterator[Cell]:
    """A broken backbone's cells: its layers are known by the recipe's words only."""
    weights = str(entry.parameters.get("weights", NO_BACKBONE))
    for label, probe, own_layers in probes:
        for layers in (own_layers or entry.layers or recipe.layers) if probe.reads == "layers" else ():
            name, _ = _named(layers)
            yield Cell(data, entry.name, weights, name, (), label, probe, recipe.seed, error, broken=True)


def _bounds(probes: Sequence[Probe]) -> list[Probe]:
    """The recipe's one floor and one ceiling: the first of each that does not merely stand in, else the first."""
    found: dict[str, Probe] = {}
    for probe in sorted(probes, key=lambda probe: probe.stands_in):
        if probe.bound is not None:
            found.setdefault(probe.bound, probe)
    return list(found.values())


def _completed(group: Group, made_of: Sequence[object], bounds: Sequence[Probe]) -> Group:
    """What a cell gets from its surroundings: whether it is a bound, and the digests of plugin files, for a changed
    plugin is another cell."""
    made_of = [*made_of, *([group.backbone] if group.backbone is not None else [])]
    cells = (
        dataclasses.replace(
            cell,
            plugins=digests(cell.probe, *made_of),
            counts=any(cell.probe is bound for bound in bounds),
        )
        for cell in group.cells
    )
    return Group(group.backbone, tuple(cells))


def _layer_cells(
    recipe: Recipe,
    data: str,
    backbone: Backbone,
    entry: LayeredEntry,
    probes: Sequence[Found],
    known: set[str] | None,
) -> Iterator[Cell]:
    for label, probe, own_layers in probes:
        if probe.reads != "layers":
            continue
        for layer_set in _expand(own_layers or entry.layers or recipe.layers, backbone):
            name, layers, missing = _resolve(layer_set, backbone, known)
            fault = _fault(probe)
            if missing:
                fault = {"skip": f"{backbone.label} has no layer {missing}"}
            elif not fault:
                fault = _skip(probe, layers)
            depth = backbone.depth(layers[0].name) if len(layers) == 1 else None
            names = (data, backbone.label, asked_weights(backbone), name)
            yield Cell(*names, layers, label, probe, recipe.seed, depth=depth, **fault)


def _skip(probe: Probe, layers: tuple[LayerSpec, ...]) -> dict[str, Any]:
    try:
        return {"skip": probe.skip(layers)}
    except Exception as error:
        return {"skip": message_of(error), "broken": True}


def _expand(layer_sets: list[LayerSet], backbone: Backbone) -> Iterator[LayerSet]:
    """`each` stands for every stage alone, `blocks` for every block alone."""
    for layer_set in layer_sets:
        if layer_set == "each":
            yield from backbone.stages()
        elif layer_set == "blocks":
            yield from backbone.blocks()
        else:
            yield layer_set


def _named(layer_set: LayerSet) -> tuple[str, list[str]]:
    """What tables call a layer set, and the names in it."""
    if isinstance(layer_set, dict):
        return next(iter(layer_set.items()))
    return (layer_set, [layer_set]) if isinstance(layer_set, str) else ("+".join(layer_set), layer_set)


def _resolve(
    layer_set: LayerSet, backbone: Backbone, known: set[str] | None
) -> tuple[str, tuple[LayerSpec, ...], str | None]:
    """(label, layers shallow to deep, the first layer this backbone lacks)."""
    label, names = _named(layer_set)
    names = list(backbone.stages()) if layer_set == "all" else names
    available = {layer.name: layer for layer in backbone.available_layers()}
    for name in names:
        if known is not None and name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.4)
            raise RecipeError(
                f"layers: no backbone of the recipe has a layer {name!r}; did you mean {' or '.join(near) or 'all'}?"
            )
    missing = next((name for name in names if name not in available), None)
    chosen = set(names)
    return label, tuple(layer for name, layer in available.items() if name in chosen), missing
