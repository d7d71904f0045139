"""What is scored of a batch: usually one map an image, of a ceiling several, whose scores are averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from harness.types import Batch


@dataclass(frozen=True, eq=False)
class Round:
    """Maps of some images of a batch, and what they are scored against."""

    images: Batch
    """These images with all of their gaze."""
    maps: Float[Tensor, "b h w"]
    """On any grid."""
    scored: Batch
    """These images with the gaze that the maps are scored against."""


@dataclass
class Tally:
    """The scores of one batch's images over all rounds, and why an image lacks one."""

    metrics: Sequence[str]
    _scores: dict[tuple[int, str], list[float]] = field(default_factory=dict)
    _reasons: dict[tuple[int, str], str] = field(default_factory=dict)

    def add(
        self, ids: Sequence[int], values: Mapping[str, Sequence[float]], reasons: Sequence[Mapping[str, str]]
    ) -> None:
        """A round: a value an image for every metric, and by metric why it is not a number."""
        for i, id_ in enumerate(ids):
            for metric in self.metrics:
                if not math.isnan(values[metric][i]):
                    self._scores.setdefault((id_, metric), []).append(values[metric][i])
                elif metric in reasons[i]:
                    self._reasons[id_, metric] = reasons[i][metric]

    def result(
        self, ids: Sequence[int], corrected: Callable[[str, float], float | str], otherwise: str
    ) -> tuple[dict[str, list[float]], list[str]]:
        """(each metric's mean over an image's rounds, "metric: reason; ..." for what has none), image by image.

        `corrected` makes of a mean what is reported, or the reason why nothing is; `otherwise` is the reason for an
        image without a round.
        """
        columns: dict[str, list[float]] = {metric: [] for metric in self.metrics}
        words: list[list[str]] = [[] for _ in ids]
        for i, id_ in enumerate(ids):
            for metric in self.metrics:
                found = self._final(id_, metric, corrected, otherwise)
                columns[metric].append(math.nan if isinstance(found, str) else found)
                if isinstance(found, str):
                    words[i].append(f"{metric}: {found}")
        return columns, ["; ".join(reasons) for reasons in words]

    def _final(
        self, id_: int, metric: str, corrected: Callable[[str, float], float | str], otherwise: str
    ) -> float | str:
        scores = self._scores.get((id_, metric))
        if scores is None:
            return self._reasons.get((id_, metric), otherwise)
        return corrected(metric, sum(scores) / len(scores))
