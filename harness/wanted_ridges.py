"""The ridges that cells want of the same moments, known before any is solved: relatives are solved together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from harness.normal_equations import UNSOLVABLE, CrossValidated, NormalEquations
from harness.ridge_family import Member, cross_validate_family
from harness.types import LayerSpec


class Equations(Protocol):
    """The normal equations of layers and targets over some folds."""

    def __call__(self, layers: Sequence[str], targets: Sequence[str], folds: Sequence[int]) -> NormalEquations: ...


@dataclass(frozen=True)
class Wanted:
    """A ridge on these layers, and on more columns that its relatives may do without, to that target."""

    layers: tuple[LayerSpec, ...]
    more: tuple[LayerSpec, ...]
    target: str
    alphas: tuple[float, ...]
    penalties: tuple[float, ...] = ()
    """Of the layers, in units of alpha; none where all have that."""

    @property
    def family(self) -> Hashable:
        """Equal for ridges that one factor solves."""
        return self.layers, self.alphas, self.penalties


class WantedRidges:
    """All ridges on the same layers with the same penalties are solved when the first of them is asked for."""

    def __init__(self) -> None:
        self._wanted: list[Wanted] = []
        self._found: dict[Wanted, CrossValidated | None] = {}

    def want(self, ridge: Wanted) -> None:
        """To be called before any is solved."""
        if ridge not in self._wanted:
            self._wanted.append(ridge)

    def find(self, ridge: Wanted, equations: Equations, folds: Sequence[int]) -> CrossValidated:
        """The best alpha over the folds, fitted on all of them; raises ValueError where none can be solved."""
        if ridge not in self._found:
            family = [one for one in self._wanted if one.family == ridge.family]
            self._found |= _solve(family, equations, folds)
        found = self._found[ridge]
        if found is None:
            raise ValueError(UNSOLVABLE)
        return found


def _solve(family: Sequence[Wanted], equations: Equations, folds: Sequence[int]) -> dict[Wanted, CrossValidated | None]:
    """Relatives read no more columns, or the same more columns."""
    more = max((ridge.more for ridge in family), key=len)
    apart = sum(column.channels for column in more) if any(ridge.more != more for ridge in family) else 0
    targets = list(dict.fromkeys(ridge.target for ridge in family))
    members = [Member(targets.index(ridge.target), ridge.more == more) for ridge in family]
    names, penalties = [column.name for column in (*family[0].layers, *more)], family[0].penalties
    if penalties:
        penalties += (1.0,) * len(more)

    def gather(folds: Sequence[int]) -> NormalEquations:
        return replace(equations(names, targets, folds), penalties=penalties)

    found = cross_validate_family(gather, folds, family[0].alphas, members, apart)
    return dict(zip(family, found, strict=True))
