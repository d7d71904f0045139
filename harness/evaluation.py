"""One pass over the held-out images feeds every readout of a group; metrics are computed for whole batches.

Predictions are brought to the stimulus' own resolution (bilinear, pixel centres) and scored there, image by image.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness import interrupt
from harness.blame import in_words
from harness.calibration import Calibration
from harness.distributed import gather_to_main
from harness.errors import MetricInputError
from harness.grid import resize
from harness.ground_truth import GroundTruth, Pool
from harness.layer_shares import LayerShares
from harness.metrics import Metric, Ranks, constant, rank, why_unscored
from harness.per_image import PerImage
from harness.readout import Readout
from harness.rounds import Round, Tally
from harness.scoring_state import ScoringState
from harness.small_maps import SmallMaps
from harness.stream import Stream
from harness.time_limit import TimeLimit
from harness.timing import Stopwatch
from harness.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float

    from harness.progress import Progress

log = logging.getLogger("salprobe")


@dataclass
class Scores:
    """What the evaluation found out about one readout."""

    per_image: PerImage = field(default_factory=PerImage)
    n_constant: int = 0
    """Images whose map has one value everywhere; cc and nss are 0 there and the AUCs 0.5, by definition."""
    maps: SmallMaps = field(default_factory=SmallMaps)
    """Every map, small, for pictures; empty where none were asked for."""
    layer_shares: LayerShares = field(default_factory=LayerShares)
    error: str | None = None
    broken_metrics: dict[str, str] = field(default_factory=dict)
    """By name, the error of a metric that raised, in words."""
    watch: Stopwatch = field(default_factory=Stopwatch)

    def means(self, metrics: Sequence[Metric]) -> dict[str, float]:
        """Each metric's mean over the images that could be scored; nan where none could."""
        return {metric.name: self.per_image.mean(metric.name) for metric in metrics}

    def merged(self, others: Sequence[Scores], order: Sequence[int]) -> Scores:
        """Joined with what other processes found out about the same readout, in the order in which one process meets
        the images; the time is this process' own."""
        everybody = (self, *others)
        return Scores(
            per_image=self.per_image.merged([other.per_image for other in others], order),
            n_constant=sum(scores.n_constant for scores in everybody),
            maps=self.maps.merged([other.maps for other in others]),
            layer_shares=self.layer_shares.merged([other.layer_shares for other in others]),
            error=next((scores.error for scores in everybody if scores.error is not None), None),
            broken_metrics=self.broken_metrics,
            watch=self.watch,
        )


def evaluate(
    readouts: Mapping[str, Readout],
    stream: Stream,
    metrics: Sequence[Metric],
    progress: Progress,
    *,
    calibrations: Mapping[str, Calibration] | None = None,
    keep_maps: bool = False,
    limit_s: float | None = None,
    state: ScoringState | None = None,
) -> dict[str, Scores]:
    """Score every readout on every image of the stream; a readout that raises fails alone.

    Of several processes each scores its own share; the main one gets everybody's scores, the others only theirs.
    A metric of log densities is nan for a readout that has neither a density nor a calibration. One whose maps take
    longer than `limit_s` in all fails; under such a limit one readout comes after the other, for threads cannot be
    interrupted. `state` keeps what is known so far, and says what was known before.
    """
    state = state or ScoringState()
    fitted, seed = calibrations or {}, stream.settings.seed
    desks = [
        _Desk(key, readout.to(stream.device), fitted.get(key), seed, keep_maps, TimeLimit(limit_s))
        for key, readout in readouts.items()
    ]
    if desks:
        pool = Pool(stream.dataset, stream.device)
        workers = torch.get_num_threads() if stream.device.type == "cpu" else 1
        state.restore({desk.key: desk.scores for desk in desks}, stream)
        left = stream.n_mine - stream.n_until(None, state.turn)
        phase = progress.phase("evaluating", left)
        with phase as bar, ThreadPoolExecutor(workers) as threads, interrupt.deferred():
            for batch in state.batches(stream.batches(after=state.turn)):
                truth = GroundTruth(batch, batch, pool)
                truth.prepare({need for metric in metrics for need in metric.needs})
                tasks = [partial(desk.score, batch, truth, metrics) for desk in desks]
                _each_on_one_core(threads if limit_s is None else None, tasks)
                bar.advance(len(batch))
    return _joined({desk.key: desk.scores for desk in desks}, stream.ids_of_a_pass())


def _joined(mine: dict[str, Scores], order: Sequence[int]) -> dict[str, Scores]:
    everybody = gather_to_main(mine)
    if everybody is None or len(everybody) == 1:
        return mine
    others = everybody[1:]
    return {key: scores.merged([other[key] for other in others], order) for key, scores in mine.items()}


def _each_on_one_core(threads: ThreadPoolExecutor | None, tasks: Sequence[Callable[[], None]]) -> None:
    """Run independent tasks, side by side where there are threads: maps are too small to split an operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if threads is None:
            for task in tasks:
                task()
        else:
            for done in [threads.submit(task) for task in tasks]:
                done.result()
    finally:
        torch.set_num_threads(before)


def stimulus_maps(maps: Tensor, batch: Batch) -> Float[Tensor, "b h w"]:
    """A readout's maps at the stimulus' own resolution, float32; a constant map stays one, whatever rounding does."""
    maps = maps.float()
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(low == high, low, resize(maps, batch.size))


@dataclass
class _Desk:
    """One readout being scored."""

    key: str
    readout: Readout
    calibration: Calibration | None
    seed: int
    keep_maps: bool
    limit: TimeLimit
    scores: Scores = field(default_factory=Scores)

    @torch.inference_mode()
    def score(self, batch: Batch, truth: GroundTruth, metrics: Sequence[Metric]) -> None:
        """Score the batch; an exception becomes the readout's error, and later batches are passed over."""
        if self.scores.error is not None:
            return
        tally = Tally([metric.name for metric in metrics])
        try:
            for number, (found, maps) in enumerate(self._predicted(batch)):
                with self.scores.watch("score", batch.device):
                    if number == 0:
                        self._describe(found, maps)
                    own = truth if found.scored is batch else truth.against(found.scored, found.images)
                    values = self._values(maps, found.images, own, metrics)
                    tally.add(
                        found.images.ids, values, _reasons(maps, own, values, metrics, self.scores.broken_metrics)
                    )
        except Exception as error:
            self.scores.error = in_words(error)
            log.debug("readout %s failed", self.key, exc_info=error)
            return
        columns, reasons = tally.result(batch.ids, self.readout.corrected, self.readout.unscorable)
        self.scores.per_image.append(batch.ids, columns, reasons)

    def _predicted(self, batch: Batch) -> Iterator[tuple[Round, Float[Tensor, "b h w"]]]:
        """Each round with its maps at the stimulus' own resolution."""
        rounds = iter(self.readout.rounds(batch))
        while True:
            with self.scores.watch("predict", batch.device), self.limit():
                found = next(rounds, None)
                maps = stimulus_maps(found.maps, found.images) if found is not None else None
            if found is None or maps is None:
                return
            yield found, maps

    def _describe(self, found: Round, maps: Float[Tensor, "b h w"]) -> None:
        """What is kept of the maps beside their scores: of several rounds those of the first."""
        if self.keep_maps:
            self.scores.maps.add(found.images.ids, found.maps)
        if len(self.readout.layers) > 1 and (parts := self.readout.parts(found.images)):
            self.scores.layer_shares.add(parts)
        self.scores.n_constant += int(constant(maps).sum())

    def _values(
        self, maps: Tensor, batch: Batch, truth: GroundTruth, metrics: Sequence[Metric]
    ) -> dict[str, list[float]]:
        ranks = rank(maps, truth.fixations) if any(metric.shares_ranks for metric in metrics) else None
        found = []
        for metric in metrics:
            try:
                result = self._value(metric, maps, batch, truth, ranks).to(maps.device, torch.float64)
                if result.shape != (len(batch),):
                    raise ValueError(f"returned {tuple(result.shape)}, not one score an image ({len(batch)},)")
            except MetricInputError:  # the maps' fault
                raise
            except Exception as error:  # the metric's: the readout's other scores stand
                result = torch.full((len(batch),), math.nan, dtype=torch.float64, device=maps.device)
                self._note_broken(metric, error)
            found.append(result)
        columns = torch.stack(found).tolist() if found else []  # once for all: each would be a wait for the device
        return {metric.name: column for metric, column in zip(metrics, columns, strict=True)}

    def _value(self, metric: Metric, maps: Tensor, batch: Batch, truth: GroundTruth, ranks: Ranks | None) -> Tensor:
        given = [getattr(truth, need) for need in metric.needs if need != "generator"]
        if metric.scores == "log_density":
            log_density = self._log_density(maps, batch)
            unknown = torch.full((len(batch),), math.nan)
            return metric.function(log_density, *given) if log_density is not None else unknown
        if "generator" in metric.needs:
            return self._seeded(metric, maps, given, batch)
        return metric.function(maps, *given, **({"ranks": ranks} if metric.shares_ranks else {}))

    def _note_broken(self, metric: Metric, error: Exception) -> None:
        words = in_words(error)
        if metric.name not in self.scores.broken_metrics:
            log.warning("metric %s failed: %s", metric.name, words)
        self.scores.broken_metrics[metric.name] = words.replace("; ", ", ")

    def _log_density(self, maps: Tensor, batch: Batch) -> Tensor | None:
        own = self.readout.log_density(batch)
        if own is not None or self.calibration is None:
            return own
        plain = self.readout.link == "identity"
        logits = maps if plain else stimulus_maps(self.readout.logits(batch), batch)
        return self.calibration.log_density(logits, batch)

    def _seeded(self, metric: Metric, maps: Tensor, given: list[Any], batch: Batch) -> Tensor:
        """A sampled metric, image by image, each seeded by recipe and image: the same draws for all readouts."""
        results = []
        for i, image_id in enumerate(batch.ids):
            seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{metric.name}/{image_id}".encode()).digest()[:8], "big")
            generator = torch.Generator().manual_seed(seed % 2**63)
            one = [type(x)(x.values[i : i + 1]) for x in given]
            results.append(metric.function(maps[i : i + 1], *one, generator=generator))
        return torch.cat(results)


def _reasons(
    maps: Tensor,
    truth: GroundTruth,
    values: Mapping[str, list[float]],
    metrics: Sequence[Metric],
    broken: Mapping[str, str],
) -> list[dict[str, str]]:
    """For each image, by metric the reason of every score that is not a number."""
    found: list[dict[str, str]] = [{} for _ in range(len(maps))]
    for metric in metrics:
        column = values[metric.name]
        if any(math.isnan(value) for value in column):
            causes = why_unscored(metric.name, maps, truth.fixations, truth.density)
            otherwise = "no density" if metric.scores == "log_density" else "not a number"
            for i, value in enumerate(column):
                if math.isnan(value):
                    found[i][metric.name] = broken.get(metric.name) or causes[i] or otherwise
    return found
