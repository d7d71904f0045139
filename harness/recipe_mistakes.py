"""What is wrong with a recipe, in words: the validation library's errors with the key's path and what was given."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from pydantic import ValidationError

CHECK = "check its spelling"


def describe(error: ValidationError, prefix: str = "", known: Collection[str] = ()) -> str:
    """One line per mistake: the key's path, what is wrong, what was given; `known` keys could have been meant."""
    lines = []
    for item in error.errors():
        parts = [str(part) for part in item["loc"] if not _is_union_branch(part)]
        place = ".".join([prefix, *parts] if prefix else parts) or "(top level)"
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines.append(f"  {place}: unknown key, {_meant(parts[0], known) if len(parts) == 1 else CHECK}")
        else:
            given = "" if item["type"].startswith("missing") else f", got {_short(item['input'])}"
            lines.append(f"  {place}: {item['msg']}{given}")
    return "\n".join(dict.fromkeys(lines))


def _meant(key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(known)}" if known else CHECK


def _is_union_branch(part: object) -> bool:
    names = ("str", "int", "float", "function-before", "constrained-int", "Limits")
    return isinstance(part, str) and ("[" in part or part in names)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
