"""Which dataset a `salprobe data` command is about: a recipe's or a reader's, as `salprobe score` takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from harness.plugin_files import load_plugins
from harness.recipe import Recipe
from harness.score import plan_for

if TYPE_CHECKING:
    from harness.data.source import Source
    from harness.plan import Plan


def plan_of(dataset: str, overrides: Sequence[str], plugins: Sequence[Path]) -> Plan:
    """The plan whose data are meant; `root=...` is short for `dataset.root=...`. Raises RecipeError, PluginError."""
    load_plugins(plugins)
    return plan_for(dataset, [_of_dataset(override) for override in overrides])


def print_source(console: Console, source: Source | None) -> None:
    """Whom to cite and the licence, a line each; says so where a reader does not tell."""
    stated = source.stated if source is not None else {"citation": "not stated", "licence": "not stated"}
    for what, words in stated.items():
        console.print(f"{what}: {words}", highlight=False, markup=False, soft_wrap=True)


def _of_dataset(override: str) -> str:
    key = override.partition("=")[0].partition(".")[0]
    return override if key in Recipe.model_fields else f"dataset.{override}"
