"""What probe, backbone and dataset plugins share: a class whose annotated fields are its validated parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeVar

from harness.registry import Registry

P = TypeVar("P")
T = TypeVar("T")


def registering(registry: Registry[type[P]], name: str) -> Callable[[type[T]], type[T]]:
    """A class decorator: the class becomes a frozen, keyword-only dataclass, gets its name and is registered.

    A class that its author already made a dataclass is left as it is.
    """

    def decorate(cls: type[T]) -> type[T]:
        if "__dataclass_fields__" not in cls.__dict__:
            cls = dataclass(frozen=True, kw_only=True)(cls)
        cls.name = name  # type: ignore[attr-defined]
        registry.register(name, cls)  # type: ignore[arg-type]
        return cls

    return decorate


def subclass_check(base: type) -> Callable[[Any], str | None]:
    """A registry check: the plugin must be a dataclass derived from `base`."""

    def check(plugin: Any) -> str | None:
        if not (isinstance(plugin, type) and issubclass(plugin, base)):
            return f"must be a class derived from {base.__module__}.{base.__name__}"
        if not is_dataclass(plugin):
            return "must be a dataclass: decorate it"
        return None

    return check
