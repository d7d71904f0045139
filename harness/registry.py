"""One registry for every kind of plugin: probes, backbones, datasets, metrics, recipes, reports.

Names are found in two places: what a decorator registered in this process, and the entry points of installed
distributions. Entry points are loaded only when their name is asked for, so a broken plugin harms nobody else.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.errors import PluginError, UnknownNameError
from harness.plugin_files import file_of

T = TypeVar("T")
GROUPS = {f"{kind}s": f"salprobe.{kind}s" for kind in ("probe", "backbone", "dataset", "metric")}
"""The entry-point groups by what a list of them is called; the registries live beside their contracts."""


class Registry(Generic[T]):
    """Plugins of one kind by name. `group` is the entry-point group, `check` refuses what breaks the contract."""

    def __init__(self, kind: str, group: str, check: Callable[[Any], str | None] = lambda _: None) -> None:
        self.kind, self.group, self._check = kind, group, check
        self._registered: dict[str, T] = {}

    def register(self, name: str, plugin: T) -> T:
        """Add `plugin` under `name`; raises PluginError for a second, different plugin of that name."""
        other = self._claimed_by(name, plugin)
        if other is not None:
            raise PluginError(f"two {self.kind}s are called {name!r}: {other} and {_where(plugin)}; rename one")
        return self._keep(name, plugin)

    def names(self) -> list[str]:
        """All known names, sorted; nothing is imported."""
        return sorted({*self._registered, *self._entry_points()})

    def get(self, name: str) -> T:
        """The plugin of that name; raises UnknownNameError with near matches, PluginError for a broken one."""
        if name in self._registered:
            return self._registered[name]
        points = self._entry_points()
        if name not in points:
            raise UnknownNameError(self.unknown(name, self.names()))
        return self._keep(name, _load(self.kind, points[name]))

    def origin(self, name: str) -> str:
        """The plugin file or the distribution that provides `name`, or "this process"."""
        file = file_of(self._registered[name]) if name in self._registered else None
        if file is not None:
            return str(file)
        point = self._entry_points().get(name)
        return point.dist.name if point is not None and point.dist is not None else "this process"

    def summary(self, name: str) -> str:
        """The first line of its docstring, from the source where it is not imported yet; empty where it has none."""
        if name in self._registered:
            words = inspect.getdoc(self._registered[name])
        else:
            words = _unloaded_doc(self._entry_points()[name])
        return (words or "").partition("\n")[0]

    def _keep(self, name: str, plugin: T) -> T:
        if problem := self._check(plugin):
            raise PluginError(f"{self.kind} {name!r} ({_where(plugin)}): {problem}")
        self._registered[name] = plugin
        return plugin

    def _claimed_by(self, name: str, plugin: object) -> str | None:
        """Where another plugin of that name is, if there is one."""
        if name in self._registered:
            there = _where(self._registered[name])
            return there if there != _where(plugin) else None
        point = self._entry_points().get(name)
        # an entry point may lead to an object by another module of its package than the one that defines it
        here = _where(plugin).partition(":")[0].partition(".")[0]
        return point.value if point is not None and point.module.partition(".")[0] != here else None

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def unknown(self, name: str, names: list[str]) -> str:
        """The message for a name that is none of `names`."""
        if not names:
            return f"no {self.kind}s are installed: run 'pip install -e .' in the project, then try again"
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
        return f"no {self.kind} is called {name!r}; {hint} ('salprobe list {self.kind}s' shows all)"


def _where(plugin: object) -> str:
    target = plugin if hasattr(plugin, "__qualname__") else getattr(plugin, "function", type(plugin))
    return f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', '?')}"


def _unloaded_doc(point: EntryPoint) -> str | None:
    """A docstring without the imports of its module, which take seconds; of an instance that of its module."""
    try:
        spec = importlib.util.find_spec(point.module)
        tree = ast.parse(Path(spec.origin).read_bytes() if spec is not None and spec.origin is not None else b"")
    except Exception:  # whatever the package around it may throw: its name is listed all the same
        return None
    kinds = (ast.ClassDef, ast.FunctionDef)
    found = (node for node in tree.body if isinstance(node, kinds) and node.name == point.attr)
    return ast.get_docstring(next(found, tree))


def _load(kind: str, point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        source = point.dist.name if point.dist is not None else "unknown distribution"
        raise PluginError(
            f"{kind} {point.name!r} of {source} ({point.value}) failed to load: {type(error).__name__}: {error}"
        ) from error
