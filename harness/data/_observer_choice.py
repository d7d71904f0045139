"""Some of the people only: chosen or left out by how the dataset calls them, or by number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from harness.data.dataset import Dataset, Skipped
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class ObserverChoice:
    """`only` these people, or everybody `without` these."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    only: tuple[int | str, ...] = ()
    without: tuple[int | str, ...] = ()
    by: Literal["label", "number"] = "label"
    """label: as the dataset calls them (a worker's id, a subject's name). number: 1, 2, ... in the order of these."""

    def __post_init__(self) -> None:
        """Refuse an empty or ambiguous choice; raises ValueError."""
        if bool(self.only) == bool(self.without):
            raise ValueError("name observers either with only or with without")

    def codes(self, labels: tuple[int | str, ...]) -> NDArray[np.int32]:
        """Those of 0 .. len(labels) - 1 that are meant; raises DataError for people whom the split does not have."""
        called = range(1, len(labels) + 1) if self.by == "number" else labels
        code = {str(name): index for index, name in enumerate(called)}
        named = self.only or self.without
        if unknown := [name for name in named if str(name) not in code]:
            some = ", ".join([*code][:_SHOWN]) + (", ..." if len(code) > _SHOWN else "")
            raise DataError(f"dataset.observers: nobody is called {unknown[0]!r} (by {self.by}); there are: {some}")
        meant = {code[str(name)] for name in named}
        return np.array([c for c in range(len(labels)) if (c in meant) == bool(self.only)], np.int32)


def only_chosen(dataset: Dataset, choice: ObserverChoice | None) -> Dataset:
    """The split with the gaze of the chosen people; images at which none of them looked are listed in `skipped`.

    People keep their numbers, so that a person's gaze is the same column whoever else is chosen.
    """
    if choice is None:
        return dataset
    keep = np.isin(dataset.observer, choice.codes(dataset.observer_labels))
    seen = np.add.reduceat(keep, dataset.offset[:-1]) > 0 if len(dataset) else np.zeros(0, np.bool_)
    if not seen.any():
        raise DataError(f"{dataset.name} {dataset.split}: none of the chosen observers looked at any image")
    ends = np.concatenate([[0], np.cumsum(keep)])[dataset.offset]
    chosen = replace(
        dataset,
        offset=ends.astype(np.int64),
        row=dataset.row[keep],
        col=dataset.col[keep],
        observer=dataset.observer[keep],
        time=dataset.time[keep] if dataset.time is not None else None,
    )
    unseen = [
        Skipped(int(dataset.ids[i]), str(dataset.files[i]), "none of the chosen observers looked at it")
        for i in np.flatnonzero(~seen)
    ]
    taken = chosen if not unseen else chosen.take(np.flatnonzero(seen).tolist())
    return replace(taken, skipped=(*dataset.skipped, *unseen))
