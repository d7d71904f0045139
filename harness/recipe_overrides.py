"""`key.path=value` on a recipe that is still a mapping: reaches into lists and into the short forms of plugins."""

from __future__ import annotations

import re
from typing import Any

from harness._yaml import BadYamlError, load_yaml
from harness.errors import RecipeError

DATASET_KEYS = ("dataset", "test_dataset")


def override_key(document: dict[str, Any], override: str) -> None:
    """Set one `key.path=value` in a recipe that is still a mapping; raises RecipeError naming the override."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {override}: write it as key.path=value")
    try:
        value = load_yaml(text)
    except BadYamlError as error:
        raise RecipeError(f"--set {override}: {text!r} is not a YAML value") from error
    *parents, last = path.split(".")
    node: Any = document
    for done, key in enumerate(parents):
        node = _descend(node, key, override, ".".join(parents[: done + 1]))
    if isinstance(node, list):
        node[_index(node, last, override)] = value
    else:
        node[last] = value


def _descend(node: Any, key: str, override: str, so_far: str) -> Any:
    """The child at `key`, with a plugin's short form (its name) written out so that parameters can be set on it."""
    place: Any = _index(node, key, override) if isinstance(node, list) else key
    if isinstance(node, dict):
        node.setdefault(key, {})
    child = node[place]
    plugin = so_far.partition(".")[0] in (*DATASET_KEYS, "backbones", "probes")
    if plugin and isinstance(child, str):
        child = node[place] = {"reader" if key in DATASET_KEYS else "name": child}
    if not isinstance(child, dict | list):
        raise RecipeError(f"--set {override}: {so_far} is a {type(child).__name__}, it has no keys")
    return child


def _index(node: list[Any], key: str, override: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", key) or int(key) >= len(node):
        raise RecipeError(f"--set {override}: {key!r} is not an index below {len(node)}")
    return int(key)
