"""Whether a plugin says what it is and what each of its parameters does."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from harness._field_docs import field_docs
from harness.testing._checks import require


def require_documented(cls: type[Any]) -> None:
    """A docstring of the class, and of every field: below it, or by name in the class's."""
    words = inspect.cleandoc(cls.__doc__ or "")
    by_hand = bool(words) and not words.startswith(f"{cls.__name__}(")
    require(by_hand, f"{cls.__name__} has no docstring: say in one line what it does")
    described = field_docs(cls)
    silent = [
        field.name
        for field in dataclasses.fields(cls)
        if field.name not in described and not re.search(rf"\b{field.name}\b", words)
    ]
    function = "function" in vars(cls)
    where = (
        "name it in its docstring" if function else "write a docstring below the field, or name it in that of the class"
    )
    require(not silent, f"nothing explains {', '.join(silent)} of {cls.__name__}{'()' * function}: {where}")
