"""A check is a small function with a name; it returns, or says why it failed or had to be skipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from harness.blame import in_words
from harness.errors import ContractError, SalprobeError
from harness.plan import build
from harness.recipe import Entry
from harness.registry import Registry

S = TypeVar("S")
P = TypeVar("P")

TOLERANCE = 1e-3
"""Of a map's range: what rounding in another order may change."""


class FailedError(Exception):
    """The contract is broken; the message says how to mend it."""


class SkippedError(Exception):
    """This check does not apply, or cannot be made here; the message says why."""


@dataclass(frozen=True)
class Check:
    """What came of one check."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    detail: str = ""


def run_checks(subject: S, checks: Iterable[Callable[[S], None]]) -> list[Check]:
    """Every check by itself: one that fails keeps no other from running."""
    return [_run(subject, check) for check in checks]


def _run(subject: S, check: Callable[[S], None]) -> Check:
    name = check.__name__.replace("_", " ")
    try:
        check(subject)
    except SkippedError as why:
        return Check(name, "skipped", str(why))
    except (FailedError, SalprobeError) as error:
        return Check(name, "failed", str(error))
    except Exception as error:
        return Check(name, "failed", in_words(error))
    return Check(name, "passed")


def require(condition: bool, words: str) -> None:
    """Fail with these words unless the condition holds."""
    if not condition:
        raise FailedError(words)


def raise_failures(kind: str, name: str, checks: Sequence[Check]) -> list[Check]:
    """The checks; raises ContractError listing those that failed."""
    failed = [f"  {check.name}: {check.detail}" for check in checks if check.status == "failed"]
    if failed:
        raise ContractError("\n".join([f"{kind} {name} breaks its contract:", *failed]))
    return list(checks)


def configured(registry: Registry[type[P]], plugin: str | type[P] | P, parameters: Mapping[str, Any]) -> P:
    """A plugin by name, class or as it is, with its parameters validated."""
    if isinstance(plugin, str):
        return build(registry, Entry(name=plugin, **parameters), plugin)
    if isinstance(plugin, type):
        return plugin(**parameters)
    return dataclasses.replace(plugin, **parameters) if parameters else plugin  # type: ignore[type-var]


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference of two sets of maps, in units of the first one's range (1 where it is constant)."""
    if a.shape != b.shape:
        return float("inf")
    a, b = a.double(), b.double()
    span = (a.max() - a.min()).item()
    return ((a - b).abs().max() / (span if span > 1e-12 else 1.0)).item()


def cuda() -> torch.device:
    """A CUDA device; skips where there is none."""
    if not torch.cuda.is_available():
        raise SkippedError("no CUDA device here")
    return torch.device("cuda")
