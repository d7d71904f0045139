"""Ridge with a learned Gaussian blur and a learned weight of the centre prior, both fitted on left-out training images.

Pass 1 streams the second moments and the mean density of every fold; from them comes a ridge for each fold that has not
seen it. Pass 2 predicts every training image by its own fold's ridge, blurs the map by every sigma that is tried, and
sums what least squares of gaze on (1, blurred map, prior) needs: five numbers a sigma.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness import Batch, Context, Probe, probe
from harness.flags import EDGE, flag
from harness.grid import resize
from harness.normal_equations import ridge_path, solver_bytes
from harness.readout import LinearReadout, SmoothedReadout, smooth
from harness.targets import target_map
from probes._moments import MomentsSettings, MomentsTrainer, check_alphas, sweep_info
from probes.ridge import ALPHAS

if TYPE_CHECKING:
    from jaxtyping import Float

SIGMAS = (0.0, 0.5, 0.7, 1.0, 1.4, 2.0)
RASTER = (30, 40)
"""Of the prior."""


@probe("smoothed")
class Smoothed(MomentsSettings, Probe):
    """Ridge, then a blur and the centre prior added, as the training images left out of each fit like it best."""

    alphas: tuple[float, ...] = ALPHAS
    """Penalties tried, as for ridge."""
    sigmas: tuple[float, ...] = SIGMAS
    """Blurs tried, in cells of the fitting grid; 0 is none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_alphas(self.alphas)
        if not self.sigmas or min(self.sigmas) < 0:
            raise ValueError(f"sigmas must be numbers from 0 on, not {list(self.sigmas)}")

    @property
    def label(self) -> str:
        """Names the variants that change what is fitted."""
        return self.named("smoothed")

    def passes(self) -> int:
        """One for the moments, one for the predictions."""
        return 2

    def trainer(self, context: Context) -> SmoothedTrainer:
        """A trainer that shares one set of moments with every other such cell of the backbone."""
        return SmoothedTrainer(self, context)


class SmoothedTrainer(MomentsTrainer):
    """Collects priors in the first pass, what blur and prior are worth in the second."""

    def __init__(self, settings: Smoothed, context: Context) -> None:
        super().__init__(settings, context)
        self.settings, self.device = settings, context.device
        self.wanted = self.want_ridge(settings.alphas)
        self._priors: dict[int, Tensor] = {}
        self._worth: dict[int, Tensor] = {}
        self._whole: LinearReadout | None = None
        self._of_fold: dict[int, LinearReadout] = {}

    def solving_bytes(self) -> int:
        """The system of all its columns."""
        return solver_bytes(self.features, len(self.settings.alphas))

    def update(self, batch: Batch) -> None:
        """First the prior of the batch's folds, then the worth of every blur."""
        for fold in sorted(set(batch.folds)):
            some = batch.take([i for i, f in enumerate(batch.folds) if f == fold])
            if self._whole is None:
                densities = some.target(RASTER)
                _add(self._priors, fold, torch.cat([densities.sum(0).flatten(), densities.new_tensor([len(some)])]))
            else:
                for index, sums in enumerate(self._products(some, fold)):
                    _add(self._worth, index, sums)

    def sums(self) -> Sequence[MutableMapping[Any, Tensor]]:
        """Of the pass that just ended."""
        return (self._priors,) if self._whole is None else (self._worth,)

    def end_pass(self) -> bool:
        """True after the first pass, when the ridges are there."""
        if self._whole is not None:
            return False
        best = self.best_ridge(self.wanted)
        self._whole = self.linear(best.solution.weights, best.solution.bias, sweep_info(best))
        folds = self.moments.folds
        for fold in folds:
            rest = [other for other in folds if other != fold] or folds
            (found,) = ridge_path(self.gather(rest), [best.solution.alpha])
            solution = found or best.solution
            self._of_fold[fold] = self.linear(solution.weights, solution.bias, {})
        return True

    def readout(self) -> SmoothedReadout:
        """The ridge of all images with the best blur and the prior, each by its weight."""
        assert self._whole is not None
        fits = [_least_squares(self._worth[index]) for index in range(len(self.settings.sigmas))]
        errors = [error for error, _ in fits]
        index = min(range(len(errors)), key=errors.__getitem__)
        constant, gain, prior_weight = fits[index][1]
        sigma = self.settings.sigmas[index]
        info = {**self._whole.info, "sigma": sigma, "sigmas": list(self.settings.sigmas), "sigma_error": errors}
        info |= {"gain": gain, "prior_weight": prior_weight}
        if len(errors) > 1 and sigma == max(self.settings.sigmas):
            flag(info, EDGE, f"sigma {sigma:g} is at the edge of its grid")
        weights = {name: gain * weight for name, weight in self._whole.weights.items()}
        bias = gain * self._whole.bias + constant
        prior = prior_weight * self._prior(None)
        finish: dict[str, Any] = {"blur": self.blur, "link": self.link, "window": self._whole.window}
        return SmoothedReadout(weights, bias, sigma=sigma, prior=prior, **finish, info=info)

    def _prior(self, without: int | None) -> Tensor:
        """The mean density of all folds but one, (30, 40), mean 1."""
        chosen = [total for fold, total in self._priors.items() if fold != without] or list(self._priors.values())
        total = torch.stack(chosen).sum(0)
        return (total[:-1] / total[-1]).view(RASTER).float()

    def _products(self, batch: Batch, fold: int) -> list[Tensor]:
        """For each sigma the sums of products of (1, map, prior, target) over the batch's positions, float64."""
        maps = self._of_fold[fold].sums(batch).double()
        prior = resize(self._prior(fold).to(maps), batch.grid).expand_as(maps)
        target = target_map(self.settings.fitted_to, batch).double()
        found = []
        for sigma in self.settings.sigmas:
            columns = [torch.ones_like(maps), smooth(maps, sigma), prior, target]
            x = torch.stack([column.flatten() for column in columns])
            found.append(x @ x.T)
        return found


def _add(totals: dict[int, Tensor], key: int, part: Tensor) -> None:
    totals[key] = totals[key] + part.double() if key in totals else part.double()


def _least_squares(products: Float[Tensor, "4 4"]) -> tuple[float, list[float]]:
    """(mean squared error, [constant, gain, prior's weight]) from the products of (1, map, prior, target)."""
    A, b = products[:3, :3], products[:3, 3]
    weights = torch.linalg.pinv(A, hermitian=True) @ b
    missed = products[3, 3] - 2 * weights @ b + weights @ A @ weights
    return (missed / products[0, 0]).item(), weights.tolist()
