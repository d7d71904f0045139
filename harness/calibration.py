"""A readout's map becomes a density by two numbers fitted on training images: a temperature and a prior's weight.

    p(x | image) ∝ exp(gain · z(x) + prior_weight · log prior(x))

with z the map at the stimulus' resolution and prior the training images' pooled gaze. The mean log-likelihood per
fixation (what IG rewards) is concave in both numbers, so Newton's method finds the one optimum (Kuemmerer, Wallis &
Bethge 2015 fit a monotone nonlinearity and a centre bias in the same spirit). Fitted on a raster an eighth as fine.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.grid import resize
from harness.ground_truth import Pool
from harness.readout import Readout
from harness.stream import Stream

if TYPE_CHECKING:
    from jaxtyping import Float

    from harness.progress import Progress
    from harness.types import Batch, Size

IMAGES = 64
"""Training images used: about ten thousand fixations for two numbers."""
COARSER = 8
STEPS = 50


@dataclass(frozen=True)
class Calibration:
    """How one readout's maps become densities; `prior` is the training images' pool."""

    gain: float
    """1 / temperature."""
    prior_weight: float
    prior: Pool

    def log_density(self, logits: Float[Tensor, "b h w"], batch: Batch) -> Float[Tensor, "b h w"]:
        """Natural log of the density at the resolution of `logits`, which must be the stimulus' own."""
        log_prior = self.prior.log_prior(batch, leave_out=False)
        return torch.log_softmax((self.gain * logits + self.prior_weight * log_prior).flatten(1), 1).view_as(logits)

    def describe(self, images: int) -> dict[str, Any]:
        """As it is saved with the readout."""
        return {"gain": self.gain, "prior_weight": self.prior_weight, "training_images": images}


def calibrate(readouts: Mapping[str, Readout], stream: Stream, progress: Progress) -> dict[str, Calibration]:
    """Fit every readout's two numbers on a seeded choice of the training images; adds them to its `info`.

    A readout that raises, or whose map holds no finite optimum, is left out (its IG is then not scored).
    """
    rows = calibration_rows(len(stream.dataset), stream.settings.seed)
    pool = Pool(stream.dataset, stream.device)
    samples: dict[str, list[_Sample]] = {key: [] for key in readouts}
    if not readouts:
        return {}
    with progress.phase("calibrating densities", len(rows)) as bar, torch.inference_mode():
        for batch in stream.batches(rows=rows):
            coarse = (max(1, batch.size[0] // COARSER), max(1, batch.size[1] // COARSER))
            prior = pool.log_prior(batch, coarse, leave_out=True)
            for key in list(samples):
                try:
                    samples[key] += _samples(readouts[key], batch, prior, coarse)
                except Exception:  # the evaluation will meet the same error and report it
                    del samples[key]
            bar.advance(len(batch))
    found = {}
    for key, images in samples.items():
        fitted = fit(images)
        if fitted is not None:
            found[key] = Calibration(*fitted, pool)
            readouts[key].info["density"] = found[key].describe(len(images))
    return found


def calibration_rows(n: int, seed: int) -> list[int]:
    """The training images used, chosen by the seed."""
    return sorted(random.Random(f"{seed}/calibration").sample(range(n), min(IMAGES, n)))


@dataclass(frozen=True, eq=False)
class _Sample:
    """One image: the two features of every cell, and the share of fixations on it."""

    features: Float[Tensor, "2 n"]
    share: Float[Tensor, " n"]


def _samples(readout: Readout, batch: Batch, prior: Tensor, coarse: Size) -> list[_Sample]:
    logits = resize(readout.logits(batch).float(), coarse)
    counts = resize(readout.scored_against(batch).fixations.values.float(), coarse)
    totals = counts.sum(dim=(1, 2))
    return [
        _Sample(
            torch.stack([logits[i], prior[i]]).flatten(1).cpu().double(),
            (counts[i] / totals[i]).flatten().cpu().double(),
        )
        for i in range(len(batch))
        if totals[i] > 0
    ]


def fit(images: list[_Sample]) -> tuple[float, float] | None:
    """(gain, prior_weight) that maximise the mean log-likelihood per fixation; None for maps that are not finite."""
    if not images or not all(torch.isfinite(s.features).all() for s in images):
        return None
    # in units of each feature's spread, so that Newton's step is well scaled whatever the readout's units are
    spread = torch.stack([s.features.std(dim=1) for s in images]).mean(0)
    unit = torch.where(spread > 0, 1 / spread, 0.0)
    parameters = torch.tensor([0.0, 1.0], dtype=torch.float64) / torch.where(unit > 0, unit, 1.0)
    value, gradient, curvature = _likelihood(parameters, images, unit)
    for _ in range(STEPS):
        # the tiny ridge decides where a map is constant and its gain has no effect
        step = torch.linalg.solve(curvature + 1e-9 * torch.eye(2, dtype=torch.float64), gradient)
        while True:
            moved = _likelihood(parameters + step, images, unit)
            if moved[0] >= value or step.abs().max() < 1e-10:
                break
            step = step / 2
        gained = moved[0] - value
        parameters, (value, gradient, curvature) = parameters + step, moved
        if gained < 1e-12:
            break
    gain, weight = (parameters * unit).tolist()
    return gain, weight


def _likelihood(parameters: Tensor, images: list[_Sample], unit: Tensor) -> tuple[float, Tensor, Tensor]:
    """Mean log-likelihood per fixation, its gradient, and its negated Hessian: moments of an exponential family."""
    value, gradient, curvature = 0.0, torch.zeros(2).double(), torch.zeros(2, 2).double()
    for image in images:
        x = image.features * unit[:, None]
        log_p = torch.log_softmax(parameters @ x, 0)
        p = log_p.exp()
        mean = x @ p
        value += (image.share @ log_p).item()
        gradient += x @ image.share - mean
        curvature += (x * p) @ x.T - torch.outer(mean, mean)
    n = len(images)
    return value / n, gradient / n, curvature / n
