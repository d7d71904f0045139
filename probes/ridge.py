"""Ridge in closed form from the streamed second moments; alpha by cross-validation over whole images."""

from __future__ import annotations

import math

from harness import Context, Probe, added, probe
from harness.normal_equations import solver_bytes
from harness.readout import LinearReadout
from harness.types import LayerSpec
from probes._moments import MomentsSettings, MomentsTrainer, check_alphas, sweep_info

ALPHAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


@probe("ridge")
class Ridge(MomentsSettings, Probe):
    """A linear readout per position, fitted in closed form (Hoerl & Kennard 1970)."""

    alphas: tuple[float, ...] = ALPHAS
    """Penalties tried, in units of the number of samples, on standardised features."""
    penalties: dict[str, float] | None = added(None)
    """A layer's own, times alpha: its weights cost so many times as much as those of the layers that are not named."""

    def __post_init__(self) -> None:
        """Raises ValueError for penalties that are none."""
        super().__post_init__()
        check_alphas(self.alphas)
        if self.penalties == {}:
            raise ValueError("penalties names no layer; leave it out, or null, for one penalty")
        for layer, penalty in (self.penalties or {}).items():
            if not 0 < penalty < math.inf:
                raise ValueError(f"penalties: {layer} must have a positive number, not {penalty}")

    @property
    def label(self) -> str:
        """Names the variants that change what is fitted."""
        return self.named("ridge-penalties" if self.penalties else "ridge")

    def skip(self, layers: tuple[LayerSpec, ...]) -> str | None:
        """A penalty of a layer that is not there does nothing, as when its name is mistyped."""
        read = [layer.name for layer in layers]
        strange = [layer for layer in self.penalties or () if layer not in read]
        return f"penalties: no layer {', '.join(strange)} among {', '.join(read)}" if strange else None

    def trainer(self, context: Context) -> RidgeTrainer:
        """A trainer that shares one set of moments with every other such cell of the backbone."""
        return RidgeTrainer(self, context)


class RidgeTrainer(MomentsTrainer):
    """Solves for every alpha."""

    def __init__(self, settings: Ridge, context: Context) -> None:
        super().__init__(settings, context)
        self.alphas, self.penalties = settings.alphas, settings.penalties
        self.wanted = self.want_ridge(self.alphas, self.penalties)

    def solving_bytes(self) -> int:
        """The system of all its columns."""
        return solver_bytes(self.features, len(self.alphas))

    def readout(self) -> LinearReadout:
        """The weights of the chosen alpha, cut into layers."""
        best = self.best_ridge(self.wanted)
        info = sweep_info(best)
        if self.penalties:
            info["layer_alphas"] = {layer: best.solution.alpha * times for layer, times in self.penalties.items()}
        return self.linear(best.solution.weights, best.solution.bias, info)
