"""What probe, backbone and dataset plugins share: a class whose annotated fields are its validated parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Protocol, TypeVar, overload

from harness.registry import Registry

P = TypeVar("P")
T = TypeVar("T")


class Registering(Protocol):
    """A decorator of plugins: a class keeps its type, a function is replaced by a class."""

    @overload
    def __call__(self, plugin: type[T], /) -> type[T]: ...
    @overload
    def __call__(self, plugin: Callable[..., Any], /) -> type[Any]: ...


def registering(
    registry: Registry[type[P]], name: str, adapt: Callable[[Any], Any] = lambda plugin: plugin
) -> Registering:
    """A decorator: what `adapt` makes of the plugin becomes a frozen, keyword-only dataclass and is registered.

    A class that its author already made a dataclass is left as it is.
    """

    def decorate(plugin: Any, /) -> Any:
        cls = adapt(plugin)
        if isinstance(cls, type) and "__dataclass_fields__" not in cls.__dict__:
            cls = dataclass(frozen=True, kw_only=True)(cls)
        cls.name = name
        registry.register(name, cls)
        return cls

    return decorate


def added(default: T) -> T:
    """The default of a parameter that a released plugin did not have: as long as it has that value it is not part of
    the cell's key, so that finished results keep theirs."""
    made: T = field(default=default, metadata={"added": True})
    return made


def default_of(parameter: Field[Any]) -> Any:
    """A parameter's default; MISSING where it has none."""
    return parameter.default if parameter.default_factory is MISSING else parameter.default_factory()


def as_entry(plugin: Any) -> dict[str, Any]:
    """A configured plugin as a recipe would name it, with all its parameters but `added` ones at their default."""
    unused = {f.name for f in fields(plugin) if f.metadata.get("added") and getattr(plugin, f.name) == f.default}
    return {"name": plugin.name, **{name: value for name, value in asdict(plugin).items() if name not in unused}}


def subclass_check(base: type) -> Callable[[Any], str | None]:
    """A registry check: the plugin must be a dataclass derived from `base`."""

    def check(plugin: Any) -> str | None:
        if not (isinstance(plugin, type) and issubclass(plugin, base)):
            return f"must be a class derived from {base.__module__}.{base.__name__}"
        if not is_dataclass(plugin):
            return "must be a dataclass: decorate it"
        return None

    return check
