"""Whether a plugin says what it is and what each of its parameters does."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
from typing import Any

from harness.testing._checks import require


def require_documented(cls: type[Any]) -> None:
    """A docstring of the class, and of every field: below it, or by name in the class's."""
    words = inspect.cleandoc(cls.__doc__ or "")
    by_hand = bool(words) and not words.startswith(f"{cls.__name__}(")
    require(by_hand, f"{cls.__name__} has no docstring: say in one line what it does")
    described = {name for base in cls.__mro__ for name in _described(base)}
    silent = [
        field.name
        for field in dataclasses.fields(cls)
        if field.name not in described and not re.search(rf"\b{field.name}\b", words)
    ]
    require(
        not silent,
        f"nothing explains {', '.join(silent)} of {cls.__name__}: "
        "write a docstring below the field, or name it in that of the class",
    )


def _described(cls: type[Any]) -> list[str]:
    """Fields with a docstring below them."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return []
    (definition,) = tree.body[:1]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return [
        here.target.id
        for here, below in itertools.pairwise(body)
        if isinstance(here, ast.AnnAssign)
        and isinstance(here.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    ]
