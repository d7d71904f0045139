"""A decorated function as a plugin: its keyword-only parameters become the typed fields of a class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from copy import copy
from dataclasses import Field, dataclass, field, make_dataclass
from functools import partial
from inspect import Parameter
from typing import Any, TypeVar

from harness.errors import PluginError

B = TypeVar("B")


@dataclass(frozen=True)
class Signature:
    """How a function wants to be called."""

    handed: tuple[str, ...]
    """What the harness hands over by position."""
    given: frozenset[str]
    """Keywords among those that the harness fills in where they are asked for."""
    fields: tuple[tuple[str, Any, Field[Any]], ...]
    """The recipe parameters: name, annotation, default."""


def signature_of(function: Callable[..., Any], handed: Collection[str], given: Collection[str] = ()) -> Signature:
    """Read a function's signature; raises PluginError for one that the harness cannot call."""
    parameters = inspect.signature(function).parameters.values()
    where = f"{function.__module__}.{function.__qualname__}"
    positional = [p.name for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    if len(positional) != len(handed):
        wanted = f"{function.__name__}({', '.join([*handed, '*', 'parameter: type = default'])})"
        raise PluginError(f"{where} takes {len(positional)} positional arguments, not {len(handed)}: write {wanted}")
    keywords = [p for p in parameters if p.name not in positional]
    for p in keywords:
        if p.kind is not Parameter.KEYWORD_ONLY:
            raise PluginError(f"{where}: name its parameters, {p} cannot be shown or validated")
        if p.name not in given and p.annotation is Parameter.empty:
            raise PluginError(f"{where}: its parameter {p.name} needs a type, e.g. {p.name}: float")
    return Signature(
        handed=tuple(positional),
        given=frozenset(p.name for p in keywords if p.name in given),
        fields=tuple((p.name, p.annotation, _as_field(p.default)) for p in keywords if p.name not in given),
    )


def class_of(function: Callable[..., Any], base: Callable[..., B], signature: Signature, **namespace: Any) -> type[B]:
    """A frozen dataclass in the function's place, derived from `base`; raises PluginError for a name `base` uses."""
    inherited = getattr(base, "__dataclass_fields__", {})
    for name, _, _ in signature.fields:
        if hasattr(base, name) and name not in inherited:
            raise PluginError(f"{function.__module__}.{function.__qualname__}: no parameter may be called {name!r}")
    namespace |= {
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "function": staticmethod(function),
    }
    bases: tuple[Any, ...] = (base,)
    return make_dataclass(
        function.__name__, signature.fields, bases=bases, namespace=namespace, frozen=True, kw_only=True
    )


def parameters_of(plugin: Any, signature: Signature) -> dict[str, Any]:
    """The keyword arguments of one configured plugin."""
    return {name: getattr(plugin, name) for name, _, _ in signature.fields}


def _as_field(default: Any) -> Any:
    if default is Parameter.empty:
        return field()
    mutable = isinstance(default, list | dict | set)  # a dataclass refuses these: each plugin gets its own
    return field(default_factory=partial(copy, default)) if mutable else field(default=default)
