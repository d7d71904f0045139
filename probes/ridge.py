"""Ridge in closed form from the streamed second moments; alpha by cross-validation over whole images."""

from __future__ import annotations

from harness import Context, Probe, probe
from harness.normal_equations import solver_bytes
from harness.readout import LinearReadout
from probes._moments import MomentsSettings, MomentsTrainer, check_alphas, sweep_info

ALPHAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


@probe("ridge")
class Ridge(MomentsSettings, Probe):
    """A linear readout per position, fitted in closed form (Hoerl & Kennard 1970)."""

    alphas: tuple[float, ...] = ALPHAS
    """Penalties tried, in units of the number of samples, on standardised features."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_alphas(self.alphas)

    @property
    def label(self) -> str:
        """Names the variants that change what is fitted."""
        return self.named("ridge")

    def trainer(self, context: Context) -> RidgeTrainer:
        """A trainer that shares one set of moments with every other such cell of the backbone."""
        return RidgeTrainer(self, context)


class RidgeTrainer(MomentsTrainer):
    """Solves for every alpha."""

    def __init__(self, settings: Ridge, context: Context) -> None:
        super().__init__(settings, context)
        self.alphas = settings.alphas
        self.want_ridge(self.alphas)

    def solving_bytes(self) -> int:
        """The system of all its columns."""
        return solver_bytes(self.features, len(self.alphas))

    def readout(self) -> LinearReadout:
        """The weights of the chosen alpha, cut into layers."""
        best = self.best_ridge(self.alphas)
        return self.linear(best.solution.weights, best.solution.bias, sweep_info(best))
