"""Plugins in a file that the user names: loaded under a name of its own, known by the digest of its bytes."""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Collection, Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import PluginError
from harness.paths import expanded

PREFIX = "salprobe_plugin_"
_DIGEST = "__salprobe_sha256__"


def load_plugins(files: Iterable[str | Path]) -> None:
    """Run each file, so that its decorators register what it holds; one that is loaded already is not run again.

    Raises PluginError naming file, line and error.
    """
    for file in files:
        path = expanded(file).absolute()
        try:
            code = path.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a name that no file system has
            raise PluginError(f"plugin file {path} cannot be read: {getattr(error, 'strerror', error)}") from error
        if path.suffix != ".py":
            raise PluginError(f"plugin file {path}: a plugin is a Python file, its name ends in .py")
        digest = hashlib.sha256(code).hexdigest()
        if getattr(sys.modules.get(module_name(path)), _DIGEST, None) != digest:
            _load(path, digest)


def module_name(path: Path) -> str:
    """What the file is imported as: the same in every process, so that its objects can travel between them."""
    return f"{PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def file_of(plugin: Any) -> Path | None:
    """The plugin file that something was defined in, if it was one."""
    module = _module_of(plugin)
    return Path(str(module.__file__)) if module is not None else None


def digests(*plugins: Any) -> tuple[tuple[str, str], ...]:
    """(name, sha256 of its file) of those plugins that came from a file."""
    found = {plugin.name: getattr(module, _DIGEST) for plugin in plugins if (module := _module_of(plugin)) is not None}
    return tuple(sorted(found.items()))


def place_of(error: BaseException) -> str:
    """The innermost line of a plugin file that the error came through, " (mine.py, line 9)"; empty if through none."""
    files = {str(module.__file__) for name, module in sys.modules.items() if name.startswith(PREFIX)}
    frame = _innermost(error, files)
    return f" ({Path(frame.filename).name}, line {frame.lineno})" if frame else ""


def _module_of(plugin: Any) -> ModuleType | None:
    named = plugin if hasattr(plugin, "__module__") and hasattr(plugin, "__qualname__") else type(plugin)
    function = getattr(plugin, "function", named)
    module = sys.modules.get(function.__module__ if hasattr(function, "__module__") else named.__module__)
    return module if module is not None and hasattr(module, _DIGEST) else None


def _load(path: Path, digest: str) -> None:
    name = module_name(path)
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    setattr(module, _DIGEST, digest)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"plugin file {path}{_line(error, path)}: {type(error).__name__}: {error}") from error


def _line(error: Exception, path: Path) -> str:
    """Where in the file it happened."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    frame = _innermost(error, {str(path)})
    return f", line {frame.lineno}" if frame else ""


def _innermost(error: BaseException, files: Collection[str]) -> traceback.FrameSummary | None:
    """The last line of these files that the error came through."""
    here = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return here[-1] if here else None
