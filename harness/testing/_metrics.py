"""What a metric must keep."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.ground_truth import GroundTruth, Pool
from harness.metric_registry import METRICS
from harness.metrics import Metric
from harness.testing._checks import Check, cuda, raise_failures, require, run_checks
from harness.testing._synthetic import stream, synthetic_dataset
from harness.types import Batch, Points

CLOSE = 1e-5


@dataclass
class MetricCase:
    """A metric on a few images with gaze."""

    metric: Metric

    @cached_property
    def batch(self) -> Batch:
        """Images of one size."""
        return next(iter(stream("test", batch_size=3).batches()))

    @cached_property
    def noise(self) -> Tensor:
        """Maps that know nothing, (b, h, w)."""
        return torch.rand(len(self.batch), *self.batch.size, generator=torch.Generator().manual_seed(1))

    def as_prediction(self, maps: Tensor) -> Tensor:
        """The maps, or the log densities that they are up to scale."""
        if self.metric.scores == "map":
            return maps
        positive = maps - maps.amin((1, 2), keepdim=True) + 1e-6
        return (positive / positive.sum((1, 2), keepdim=True)).log()

    def given(self, batch: Batch) -> tuple[list[Any], dict[str, torch.Generator]]:
        """What the evaluation hands over beside the maps, by position and by name."""
        truth = GroundTruth(batch, batch, Pool(synthetic_dataset("test"), batch.device))
        drawn = {"generator": torch.Generator().manual_seed(0)} if "generator" in self.metric.needs else {}
        return [getattr(truth, need) for need in self.metric.needs if need != "generator"], drawn

    def score(self, maps: Tensor, batch: Batch | None = None) -> Tensor:
        """As the evaluation calls it."""
        given, drawn = self.given(batch or self.batch)
        return self.metric.function(self.as_prediction(maps), *given, **drawn)


def documented(case: MetricCase) -> None:
    """The function says what it computes, the record where it comes from."""
    require(bool(inspect.getdoc(case.metric.function)), "the function has no docstring: give the formula in one line")
    require(bool(case.metric.reference), "the record has no reference: who defined it?")


def one_score_an_image(case: MetricCase) -> None:
    """(b,), floating point, finite for ordinary maps."""
    scores = case.score(case.noise)
    good = isinstance(scores, Tensor) and scores.shape == (len(case.batch),) and scores.is_floating_point()
    shape = f"{tuple(scores.shape)} {scores.dtype}" if isinstance(scores, Tensor) else type(scores).__name__
    require(good, f"returned {shape} for {len(case.batch)} maps: reduce over the last two axes only, not over images")
    require(bool(scores.isfinite().all()), f"ordinary maps score {scores.tolist()}: not finite")


def every_image_alone(case: MetricCase) -> None:
    """An image's score does not depend on what else is in the batch."""
    if "generator" in case.metric.needs:  # the evaluation gives those one image at a time
        return
    together = case.score(case.noise)
    for i in range(len(case.batch)):
        alone = case.score(case.noise[i : i + 1], case.batch.take([i]))
        far = abs(float(alone[0]) - float(together[i]))
        require(far <= CLOSE, f"alone an image scores {float(alone[0]):.6g}, beside others {float(together[i]):.6g}")


def same_score_again(case: MetricCase) -> None:
    """The same maps score the same: what is drawn comes from the generator."""
    words = "the same maps score differently: draw from the generator that `generator` in the signature asks for"
    require(torch.equal(case.score(case.noise), case.score(case.noise)), words)


def inputs_left_alone(case: MetricCase) -> None:
    """Maps and gaze are as they were."""
    maps, (given, drawn) = case.as_prediction(case.noise), case.given(replace(case.batch))
    tensors = [maps, *(x if isinstance(x, Tensor) else x.values for x in given)]
    before = [x.clone() for x in tensors]
    case.metric.function(maps, *given, **drawn)
    same = all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))
    require(same, "changes what it is given, which other metrics read: work on a copy")


def survives_constant_maps(case: MetricCase) -> None:
    """A map with one value everywhere has a score or nan, never infinity or an error."""
    scores = case.score(torch.ones_like(case.noise))
    require(not scores.isinf().any(), f"a constant map scores {scores.tolist()}: define it, or return nan")


def survives_images_without_gaze(case: MetricCase) -> None:
    """An image that nobody looked at has a score or nan, never infinity or an error."""
    nobody = Points(*(np.zeros(0, np.int32) for _ in range(3)))
    batch = case.batch.with_points((nobody, *case.batch.points[1:]))
    if "generator" in case.metric.needs:
        batch = batch.take([0])
    scores = case.score(case.noise[: len(batch)], batch)
    require(not scores.isinf().any(), f"an image without gaze scores {scores.tolist()}: return nan for it")


def within_its_bounds(case: MetricCase) -> None:
    """No score lies outside of what the record says."""
    low, high = case.metric.bounds
    for maps in (case.noise, -case.noise, case.batch.density.values):
        scores = case.score(maps)
        inside = ((scores >= low - CLOSE) & (scores <= high + CLOSE) | scores.isnan()).all()
        require(bool(inside), f"scores {scores.tolist()} lie outside of bounds ({low:g}, {high:g})")


def better_maps_score_better(case: MetricCase) -> None:
    """The blurred gaze itself beats noise, in the direction that the record says."""
    truth, noise = (case.score(maps).mean().item() for maps in (case.batch.density.values, case.noise))
    good = truth > noise if case.metric.higher_is_better else truth < noise
    said = "higher" if case.metric.higher_is_better else "lower"
    require(good, f"the true density scores {truth:.4g}, noise {noise:.4g}, and {said} is said to be better")


def works_on_cuda(case: MetricCase) -> None:
    """On a GPU scores are those of the CPU."""
    device = cuda()
    there = replace(case.batch, device=device)
    far = (case.score(case.noise) - case.score(case.noise.to(device), there).cpu()).abs().max().item()
    require(far <= 1e-3, f"on the GPU scores change by {far:.4g}")


METRIC_CHECKS: tuple[Callable[[MetricCase], None], ...] = (
    documented,
    one_score_an_image,
    every_image_alone,
    same_score_again,
    inputs_left_alone,
    survives_constant_maps,
    survives_images_without_gaze,
    within_its_bounds,
    better_maps_score_better,
    works_on_cuda,
)


def examine_metric(metric: str | Metric, **parameters: Any) -> list[Check]:
    """Every check of a metric by name or as it is; metrics have no parameters."""
    if parameters:
        raise TypeError(f"a metric has no parameters: {', '.join(parameters)}")
    return run_checks(MetricCase(METRICS.get(metric) if isinstance(metric, str) else metric), METRIC_CHECKS)


def check_metric(metric: str | Metric) -> list[Check]:
    """The same; raises ContractError for a metric that breaks its contract."""
    name = metric if isinstance(metric, str) else metric.name
    return raise_failures("metric", name, examine_metric(metric))
