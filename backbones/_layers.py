"""Asking for layers by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from harness.errors import RecipeError
from harness.types import LayerSpec


def check_layers(wanted: Sequence[str], available: Sequence[LayerSpec], label: str) -> None:
    """Raises RecipeError, with near matches, for the first name that is none of the available layers."""
    names = [layer.name for layer in available]
    for name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
            raise RecipeError(f"{label} has no layer {name!r}; {hint}")
