"""Imports that must never exist: the house stays a road, not a web."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = [
    ("harness", ("probes", "backbones", "reports", "experiments", "tests")),
    ("probes", ("backbones", "reports", "mlflow", "harness.data", "harness.tracking", "harness.stream", "pathlib")),
    ("backbones", ("probes", "reports", "mlflow", "harness.data", "harness.tracking")),
    ("reports", ("probes", "backbones", "harness.tracking", "mlflow")),
    ("harness/metrics", ("numpy", "scipy", "pandas", "harness.types", "harness.grid", "harness.registry")),
    ("harness/results.py", ("harness.tracking", "mlflow")),
    ("harness/run.py", ("harness.tracking", "mlflow")),
]


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("place", "never"), FORBIDDEN, ids=[place for place, _ in FORBIDDEN])
def test_forbidden_arrows(place: str, never: tuple[str, ...]) -> None:
    start = ROOT / place
    files = [start] if start.is_file() else sorted(start.rglob("*.py"))
    assert files
    found = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports(file)
        if any(name == word or name.startswith(f"{word}.") for word in never)
    }
    assert not found
