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

from harness.distributed import add_up, agree, is_mine
from harness.grid import resize
from harness.ground_truth import Pool
from harness.readout import Readout
from harness.stream import Stream
from harness.time_limit import TimeLimit

if TYPE_CHECKING:
    from jaxtyping import Float

    from harness.progress import Progress
    from harness.types import Batch

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


def calibrate(
    readouts: Mapping[str, Readout], stream: Stream, progress: Progress, limit_s: float | None = None
) -> dict[str, Calibration]:
    """Fit every readout's two numbers on a seeded choice of the training images; adds them to its `info`.

    A readout that raises, takes longer than `limit_s`, or whose map holds no finite optimum, is left out: its IG is not
    scored.
    """
    rows = calibration_rows(len(stream.dataset), stream.settings.seed)
    pool = Pool(stream.dataset, stream.device)
    samples: dict[str, list[_Sample]] = {key: [] for key in readouts}
    limits = {key: TimeLimit(limit_s) for key in readouts}
    failed: dict[str, str] = {}
    if not readouts:
        return {}
    with progress.phase("calibrating densities", sum(map(is_mine, rows))) as bar, torch.inference_mode():
        for batch in stream.batches(rows=rows):
            raster = _Raster(batch, pool)
            for key in list(samples):
                try:
                    with limits[key]():
                        samples[key] += raster.samples(readouts[key])
                except Exception as error:  # the evaluation will meet the same error and report it
                    failed[key] = str(error)
                    del samples[key]
            bar.advance(len(batch))
    agree(failed)
    found: dict[str, Calibration] = {}
    for key in readouts:
        fitted = fit(samples[key]) if key not in failed else None
        if fitted is not None:
            gain, prior_weight, images = fitted
            found[key] = Calibration(gain, prior_weight, pool)
            readouts[key].info["density"] = found[key].describe(images)
    return found


def earlier_calibrations(readouts: Mapping[str, Readout], stream: Stream) -> dict[str, Calibration]:
    """Those that the readouts' own `info` tells of."""
    pool = Pool(stream.dataset, stream.device)
    told = {key: readout.info["density"] for key, readout in readouts.items() if "density" in readout.info}
    return {key: Calibration(density["gain"], density["prior_weight"], pool) for key, density in told.items()}


def calibration_rows(n: int, seed: int) -> list[int]:
    """The training images used, chosen by the seed."""
    return sorted(random.Random(f"{seed}/calibration").sample(range(n), min(IMAGES, n)))


@dataclass(frozen=True, eq=False)
class _Sample:
    """One image on the coarse raster; what is the same for all readouts is held once for all of them."""

    logits: Float[Tensor, " n"]
    prior: Float[Tensor, " n"]
    share: Float[Tensor, " n"]
    """Of the fixations on each cell; nan for an image without any."""

    @property
    def features(self) -> Float[Tensor, "2 n"]:
        """What the two numbers weigh, float64."""
        return torch.stack([self.logits, self.prior]).double()


class _Raster:
    """A batch on the coarse raster."""

    def __init__(self, batch: Batch, pool: Pool) -> None:
        self.batch = batch
        self.size = (max(1, batch.size[0] // COARSER), max(1, batch.size[1] // COARSER))
        self.prior = pool.log_prior(batch, self.size, leave_out=True).flatten(1).cpu()
        self.share = self._share(batch)

    def samples(self, readout: Readout) -> list[_Sample]:
        """One for each image with gaze."""
        logits = resize(readout.logits(self.batch).float(), self.size).flatten(1).cpu()
        scored = readout.scored_against(self.batch)
        share = self.share if scored is self.batch else self._share(scored)
        found = zip(logits, self.prior, share, strict=True)
        return [_Sample(*planes) for planes in found if not planes[2].isnan().any()]

    def _share(self, batch: Batch) -> Float[Tensor, "b n"]:
        counts = resize(batch.fixations.values.float(), self.size).flatten(1).cpu()
        return counts / counts.sum(dim=1, keepdim=True)


def fit(images: list[_Sample]) -> tuple[float, float, int] | None:
    """(gain, prior_weight) that maximise the mean log-likelihood per fixation, and the number of images over all
    processes; None for maps that are not finite."""
    spreads = [s.features.std(dim=1) for s in images]
    total = torch.cat([torch.stack([*spreads, torch.zeros(2).double()]).sum(0), torch.tensor([float(len(images))])])
    add_up([total])
    if total[2] == 0 or not torch.isfinite(total).all():
        return None
    # in units of each feature's spread, so that Newton's step is well scaled whatever the readout's units are
    spread = total[:2] / total[2]
    unit = torch.where(spread > 0, 1 / spread, 0.0)
    parameters = torch.tensor([0.0, 1.0], dtype=torch.float64) / torch.where(unit > 0, unit, 1.0)
    weighed = [(s.features * unit[:, None], s.share.double()) for s in images]
    value, gradient, curvature = _likelihood(parameters, weighed)
    for _ in range(STEPS):
        # the tiny ridge decides where a map is constant and its gain has no effect
        step = torch.linalg.solve(curvature + 1e-9 * torch.eye(2, dtype=torch.float64), gradient)
        while True:
            moved = _likelihood(parameters + step, weighed)
            if moved[0] >= value or step.abs().max() < 1e-10:
                break
            step = step / 2
        gained = moved[0] - value
        parameters, (value, gradient, curvature) = parameters + step, moved
        if gained < 1e-12:
            break
    gain, weight = (parameters * unit).tolist()
    return gain, weight, int(total[2])


def _likelihood(parameters: Tensor, images: list[tuple[Tensor, Tensor]]) -> tuple[float, Tensor, Tensor]:
    """Mean log-likelihood per fixation, its gradient, and its negated Hessian: moments of an exponential family.

    The images, (features, share) each, are those of this process, the means are over all processes' images.
    """
    sums = torch.zeros(8, dtype=torch.float64)
    value, gradient, curvature, n = sums[:1], sums[1:3], sums[3:7].view(2, 2), sums[7]
    for x, share in images:
        log_p = torch.log_softmax(parameters @ x, 0)
        p = log_p.exp()
        mean = x @ p
        value += share @ log_p
        gradient += x @ share - mean
        curvature += (x * p) @ x.T - torch.outer(mean, mean)
        n += 1
    add_up([sums])
    return (value / n).item(), gradient / n, curvature / n
