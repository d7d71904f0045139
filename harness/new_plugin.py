"""`salprobe new KIND NAME`: a small package with one plugin, its entry point, its test and a README."""

from __future__ import annotations

import builtins
import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

from harness.errors import PluginError, UnknownNameError
from harness.registry import GROUPS, Registry

RECIPES = {
    "probe": "probes: [{name: $name, alpha: [0.1, 1]}]",
    "backbone": "backbones: [{name: $name, seed: [0, 1]}]",
    "dataset": "dataset: {reader: $name, root: FOLDER}",
    "metric": "metrics: [cc, $name]",
}
_SHADOWED = {"np", "torch", "nn", *RECIPES}
"""What the templates import."""
OPTIONS = {"dataset": "--set root=FOLDER"}


def write_package(kind: str, name: str, parent: Path) -> Path:
    """Write the package into a new folder below `parent`, and return it.

    Raises UnknownNameError for a kind there is not, PluginError for a name that cannot be had or a folder in the way.
    """
    if kind not in RECIPES:
        raise UnknownNameError(f"nothing new is called {kind!r}; there are: {', '.join(RECIPES)}")
    _check_name(kind, name)
    folder = parent / f"salprobe-{name}"
    values = _values(kind, name)
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{values['module']}.py": f"{kind}.py",
        f"tests/test_{values['module']}.py": f"{kind}_test.py",
    }
    try:
        (folder / "tests").mkdir(parents=True)
    except OSError as error:
        why = "is there already" if isinstance(error, FileExistsError) else f"cannot be made ({error.strerror})"
        raise PluginError(f"{folder} {why}; choose another name or --out") from error
    for file, template in files.items():
        text = (resources.files("harness") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
        (folder / file).write_text(Template(text).substitute(values), encoding="utf-8")
    return folder


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise PluginError(f"{name!r} is no name for a {kind}: small letters, digits, - and _, starting with a letter")
    if name in _SHADOWED or name in dir(builtins):
        raise PluginError(f"{name} is what Python or the {kind}'s own file calls something else; choose another name")
    registry: Registry[object] = Registry(kind, GROUPS[f"{kind}s"])
    if name in registry.names():
        raise PluginError(f"there is a {kind} {name} already, from {registry.origin(name)}; choose another name")


def _values(kind: str, name: str) -> dict[str, str]:
    identifier = name.replace("-", "_")
    values = {"kind": kind, "name": name, "module": f"salprobe_{identifier}", "object": identifier}
    return {**values, "recipe": Template(RECIPES[kind]).substitute(name=name), "options": OPTIONS.get(kind, "")}
