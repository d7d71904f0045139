"""YAML that a user was handed: plain values only, within limits; what is wrong raises BadYamlError."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

LARGEST = 2**18
"""Characters of a document."""
MOST = 100_000
"""Values in a document once its aliases are written out: a few lines of aliases can stand for billions."""
DEEPEST = 50
"""Lists and mappings within each other."""


class BadYamlError(ValueError):
    """It is no YAML of plain values, or larger than any recipe."""


def load_yaml(text: str) -> Any:
    """The document's plain values, an alias being a copy; raises BadYamlError saying where it is wrong."""
    if len(text) > LARGEST:
        raise BadYamlError(f"{len(text):,} characters are more than the {LARGEST:,} that are read")
    try:
        return _apart(yaml.load(text, _Loader))  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError as error:
        raise BadYamlError(str(error)) from error
    except Exception as error:  # PyYAML makes a value of 2001-99-99 and of !!int x without looking first
        raise BadYamlError(f"a value cannot be read: {error}") from error


def _apart(value: Any) -> Any:
    """The same, nothing in two places at once: who changes one place does not mean the others."""
    if isinstance(value, dict):
        return {key: _apart(part) for key, part in value.items()}
    return [_apart(part) for part in value] if isinstance(value, list) else value


def read_yaml(file: Path) -> Any:
    """A file's document; raises OSError, or BadYamlError for its content."""
    with file.open("rb") as handle:
        content = handle.read(4 * LARGEST + 1)
    try:
        return load_yaml(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadYamlError(f"not UTF-8: {error}") from error


class _Loader(yaml.SafeLoader):
    """Counts what the document stands for while it is composed, before anything is made of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.counts: dict[int, int] = {}
        """Values below a node that is complete, itself included."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; raises ComposerError for one that is too large, too deep, or within itself."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {DEEPEST} times", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is None:
            return None
        if id(node) not in self.counts:
            if _is_open(node):
                raise yaml.composer.ComposerError(None, None, "an alias of what it stands in", mark)
            self.counts[id(node)] = 1 + sum(self.counts[id(part)] for part in _parts(node))
        if self.counts[id(node)] > MOST:
            raise yaml.composer.ComposerError(None, None, f"stands for more than {MOST:,} values", mark)
        return node


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _is_open(node: yaml.Node) -> bool:
    """Whether it is being composed still: its end is not known yet."""
    return isinstance(node, yaml.CollectionNode) and node.end_mark is None
