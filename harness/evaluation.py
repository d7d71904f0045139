"""One pass over the held-out images feeds every readout of a group; metrics are computed for whole batches.

Predictions are brought to the stimulus' own resolution (bilinear, pixel centres) and scored there, image by image.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.grid import resize
from harness.metrics import Metric, why_unscored
from harness.readout import Readout
from harness.stream import Stream
from harness.timing import Stopwatch
from harness.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray

    from harness.progress import Progress

log = logging.getLogger("salprobe")


@dataclass
class Scores:
    """What the evaluation found out about one readout."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One an image: image_id, every metric (nan where unscored), why it is unscored."""
    unscored: Counter[str] = field(default_factory=Counter)
    predictions: dict[int, NDArray[Any]] = field(default_factory=dict)
    """The maps of the images chosen for pictures."""
    densities: dict[int, NDArray[Any]] = field(default_factory=dict)
    """What those were scored against."""
    error: str | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)

    def means(self, metrics: Sequence[Metric]) -> dict[str, float]:
        """Each metric's mean over the images that could be scored; nan where none could."""
        result = {}
        for metric in metrics:
            values = [row[metric.name] for row in self.rows if not math.isnan(row[metric.name])]
            result[metric.name] = sum(values) / len(values) if values else math.nan
        return result

    @property
    def n_unscored(self) -> int:
        """Images that lack at least one score."""
        return sum(row["unscored"] is not None for row in self.rows)


def evaluate(
    readouts: Mapping[str, Readout],
    stream: Stream,
    metrics: Sequence[Metric],
    progress: Progress,
    pictured: Collection[int] = (),
) -> dict[str, Scores]:
    """Score every readout on every image of the stream; a readout that raises fails alone."""
    readouts = {key: readout.to(stream.device) for key, readout in readouts.items()}
    scores = {key: Scores() for key in readouts}
    if not readouts:
        return scores
    with progress.phase("evaluating", len(stream.dataset)) as bar, torch.inference_mode():
        for batch in stream.batches():
            for key, readout in readouts.items():
                if scores[key].error is None:
                    _score(readout, batch, metrics, scores[key], pictured)
            bar.advance(len(batch))
    return scores


def stimulus_maps(readout: Readout, batch: Batch) -> Float[Tensor, "b h w"]:
    """The readout's maps at the stimulus' own resolution, float32."""
    return resize(readout(batch).float(), batch.size)


def _score(
    readout: Readout, batch: Batch, metrics: Sequence[Metric], scores: Scores, pictured: Collection[int]
) -> None:
    try:
        with scores.watch("predict", batch.device):
            maps = stimulus_maps(readout, batch)
            truth = readout.scored_against(batch)
        with scores.watch("score", batch.device):
            values = {metric.name: _compute(metric, maps, truth) for metric in metrics}
            reasons = _reasons(maps, truth, values)
    except Exception as error:
        scores.error = f"{type(error).__name__}: {error}"
        log.debug("readout failed", exc_info=error)
        return
    for i, image_id in enumerate(batch.ids):
        scores.unscored.update(reasons[i])
        row = {name: column[i] for name, column in values.items()}
        scores.rows.append({"image_id": image_id, **row, "unscored": "; ".join(reasons[i]) or None})
        if image_id in pictured:
            scores.predictions[image_id] = maps[i].cpu().numpy()
            scores.densities[image_id] = truth.density.values[i].cpu().numpy()


def _compute(metric: Metric, maps: Tensor, truth: Batch) -> list[float]:
    values = metric.function(maps, *[getattr(truth, need) for need in metric.needs])
    return [float(value) for value in values.tolist()]


def _reasons(maps: Tensor, truth: Batch, values: Mapping[str, list[float]]) -> list[list[str]]:
    """For each image, "metric: reason" of every score that is not a number."""
    found: list[list[str]] = [[] for _ in range(len(maps))]
    for name, column in values.items():
        if any(math.isnan(value) for value in column):
            causes = why_unscored(name, maps, truth.fixations, truth.density)
            for i, value in enumerate(column):
                if math.isnan(value):
                    found[i].append(f"{name}: {causes[i] or 'not a number'}")
    return found
