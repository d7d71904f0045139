"""`salprobe check NAME`: the contract kit's checks of one plugin as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.errors import ContractError, RecipeError, UnknownNameError
from harness.listing import registry_of
from harness.plugin_files import load_plugins
from harness.recipe_overrides import override_key
from harness.testing import Check, examine_backbone, examine_dataset, examine_metric, examine_probe

EXAMINE: dict[str, Callable[..., list[Check]]] = {
    "probe": examine_probe,
    "backbone": examine_backbone,
    "dataset": examine_dataset,
    "metric": examine_metric,
}
UNTOLD = "not told"
"""A check that failed for a reason that was told already: whether it would fail for one of its own is not known."""
COLOURS = {"passed": "green", "failed": "bold red", "skipped": "yellow", UNTOLD: "dim"}


def check(
    name: str, kind: str | None, parameters: Sequence[str], plugins: Sequence[Path], *, processes: bool = True
) -> int:
    """Print every check of a plugin; the exit code: 2 if one failed."""
    load_plugins(plugins)
    kind = _kind_of(name, kind, plugins)
    given: dict[str, Any] = {}
    for parameter in parameters:
        override_key(given, parameter)
    if kind == "probe":
        given["processes"] = processes
    if kind == "metric" and given:
        raise RecipeError("--set: a metric has no parameters")
    checks = EXAMINE[kind](name, **given)
    _print(f"{kind} {name}", checks)
    return ContractError.exit_code if any(found.status == "failed" for found in checks) else 0


def _kind_of(name: str, kind: str | None, plugins: Sequence[Path]) -> str:
    """The kind of which there is one of that name; raises UnknownNameError, RecipeError where it is not clear."""
    if kind is not None and kind not in EXAMINE:
        raise UnknownNameError(f"--kind {kind}: choose one of {', '.join(EXAMINE)}")
    found = [one for one in EXAMINE if kind in (None, one) and name in registry_of(f"{one}s").names()]
    if len(found) > 1:
        raise RecipeError(f"{name} is a {' and a '.join(found)}: say which with --kind")
    if not found:
        known = [known for one in EXAMINE if kind in (None, one) for known in registry_of(f"{one}s").names()]
        where = "; one in a file of your own needs --plugin FILE.py" if not plugins else ""
        raise UnknownNameError(registry_of(f"{kind or 'probe'}s").unknown(name, known) + where)
    return found[0]


def _print(title: str, checks: Sequence[Check]) -> None:
    table = Table("check", "result", "what to do, or why not", title=title, title_justify="left", box=None)
    told: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for found in checks:
        first = told.setdefault(found.detail, found.name)  # what breaks training breaks most checks
        again = bool(found.detail) and first != found.name
        status = UNTOLD if again and found.status == "failed" else found.status
        table.add_row(found.name, f"[{COLOURS[status]}]{status}[/]", escape(f"as {first}" if again else found.detail))
        counts[status] += 1
    console = Console()
    console.print(table, highlight=False)
    console.print(", ".join(f"{n} {status}" for status, n in counts.items()), highlight=False)
