"""`salprobe list`: what is registered, where it comes from, what it can be told."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness._field_docs import field_docs
from harness._plugin import default_of
from harness._yaml import load_yaml
from harness.errors import PluginError, UnknownNameError
from harness.plugin_files import load_plugins
from harness.registry import GROUPS, Registry

KINDS = ("probes", "backbones", "datasets", "metrics", "recipes")


OURS = "salience-probe"


def show(kind: str, names: Sequence[str], verbose: bool, plugins: Sequence[Path] = ()) -> None:
    """Print a line for each of a kind; the named ones, or all if `verbose`, with parameters.

    A broken plugin is listed with its error. Raises UnknownNameError for a kind or a name there is not.
    """
    if kind not in KINDS:
        raise UnknownNameError(f"nothing is listed under {kind!r}; there are: {', '.join(KINDS)}")
    console = Console()
    if kind == "recipes":
        _recipes(console, names)
        return
    load_plugins(plugins)
    if not verbose and not names:
        # a line each needs no heavy import
        _lines(console, registry_of(kind) if plugins else Registry(kind.removesuffix("s"), GROUPS[kind]))
        return
    registry = registry_of(kind)
    _check(names, registry.names(), registry)
    describe = _metric if kind == "metrics" else _parameters
    for name in names or registry.names():
        try:
            describe(console, name, registry.get(name))
        except PluginError as error:
            console.print(f"[bold red]{name}[/bold red]: {error}", highlight=False)


def _check(names: Sequence[str], known: list[str], registry: Registry[Any]) -> None:
    for name in names:
        if name not in known:
            raise UnknownNameError(registry.unknown(name, known))


def registry_of(kind: str) -> Registry[Any]:
    """The registry of probes, backbones, datasets or metrics."""
    from harness._backbone import BACKBONES
    from harness._probe import PROBES
    from harness.data.dataset import DATASETS
    from harness.metric_registry import METRICS

    registries: dict[str, Registry[Any]] = {
        "probes": PROBES,
        "backbones": BACKBONES,
        "datasets": DATASETS,
        "metrics": METRICS,
    }
    return registries[kind]


def _lines(console: Console, registry: Registry[Any]) -> None:
    """Name, what it is, whose it is where it is not ours."""
    table = Table.grid(padding=(0, 2))
    for name in registry.names():
        origin = registry.origin(name)
        from_where = Text(f" ({origin})" if origin != OURS else "", "dim")
        table.add_row(Text(name, "bold"), Text(registry.summary(name)).append_text(from_where))
    console.print(table)


def _recipes(console: Console, names: Sequence[str]) -> None:
    from harness.recipe import RECIPES, recipe_names

    found = recipe_names()
    _check(names, list(found), RECIPES)
    for name, text in found.items():
        if names and name not in names:
            continue
        description = str(load_yaml(text).get("description", "")).strip()
        console.print(f"[bold]{name}[/bold]  {description}", highlight=False)


def _parameters(console: Console, name: str, plugin: type) -> None:
    first, *more = inspect.cleandoc(plugin.__doc__ or "no description").splitlines()
    console.print(f"[bold]{name}[/bold]  {escape(first)}", highlight=False)
    if text := "\n".join(more).strip():
        console.print(Padding(text, (0, 0, 0, 2)), highlight=False, markup=False)
    if (source := getattr(plugin, "source", None)) is not None:
        for what, words in source.stated.items():
            console.print(f"  {what}: {words}", highlight=False, markup=False)
    hints, docs = _hints(plugin), field_docs(plugin)
    for field in dataclasses.fields(plugin):
        words = _type_words(hints[field.name]) if field.name in hints else str(field.type)
        told = Text.assemble((field.name, "cyan"), f": {words}{_default(field)}")
        console.print(Padding(told, (0, 0, 0, 2)))
        if field.name in docs:
            console.print(Padding(Text(docs[field.name], "dim"), (0, 0, 0, 6)))
    console.print()


def _hints(kind: type) -> dict[str, Any]:
    """A class' types; nothing where some of them are for type checkers only."""
    try:
        return typing.get_type_hints(kind)
    except (NameError, TypeError):
        return {}


def _type_words(hint: Any) -> str:
    """What may be written: the names of a choice, the keys of a mapping; aliases are resolved."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(dict.fromkeys(map(str, parts)))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(word for part in parts for word in _choices(part)))
    if origin is typing.Annotated:
        return _type_words(parts[0])
    if isinstance(hint, type) and origin is None:
        if dataclasses.is_dataclass(hint) or hasattr(hint, "model_fields"):
            hints = {name: inner for name, inner in _hints(hint).items() if typing.get_origin(inner) != typing.ClassVar}
            return "{" + ", ".join(f"{name}: {_type_words(inner)}" for name, inner in hints.items()) + "}"
        return "None" if hint is type(None) else hint.__name__
    return str(hint).replace("typing.", "")


def _choices(hint: Any) -> list[str]:
    """The words of a choice, or the one word of another type."""
    is_choice = typing.get_origin(hint) is typing.Literal
    return [str(part) for part in typing.get_args(hint)] if is_choice else [_type_words(hint)]


def _default(field: dataclasses.Field[Any]) -> str:
    default = default_of(field)
    return "" if default is dataclasses.MISSING else f" = {default!r}"


def _metric(console: Console, name: str, metric: Any) -> None:
    better = "higher" if metric.higher_is_better else "lower"
    low, high = metric.bounds
    console.print(
        f"[bold]{name}[/bold]  v{metric.version}, {better} is better, in [{low:g}, {high:g}], needs "
        f"{', '.join(metric.needs)}; {metric.reference}",
        highlight=False,
    )
