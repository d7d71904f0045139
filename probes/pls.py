"""Partial least squares from the streamed second moments: few directions, each as covariant with gaze as can be.

With one target there is one way to reduce the rank: reduced-rank regression is rank 1, which is least squares itself,
so the number of components is what there is to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness import Context, Probe, probe
from harness.normal_equations import Standardised, solver_bytes
from harness.readout import LinearReadout
from probes._moments import MomentsSettings, MomentsTrainer, sweep_info

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

COMPONENTS = (1, 2, 3, 5, 8, 12, 20, 30, 50)
EXHAUSTED = 1e-10
"""A direction that is left with so little of its length adds nothing: the components before it say all."""


@probe("pls")
class PLS(MomentsSettings, Probe):
    """Partial least squares on standardised features (Wold 1966), its components counted on held-out images."""

    components: tuple[int, ...] = COMPONENTS
    """How many are tried."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.components, default=0) < 1:
            raise ValueError(f"components must be positive numbers, not {list(self.components)}")

    @property
    def label(self) -> str:
        """Names the variants that change what is fitted."""
        return self.named("pls")

    def trainer(self, context: Context) -> PLSTrainer:
        """A trainer that shares one set of moments with every other such cell of the backbone."""
        return PLSTrainer(self, context)


class PLSTrainer(MomentsTrainer):
    """One run of Lanczos a fold gives all numbers of components."""

    def __init__(self, settings: PLS, context: Context) -> None:
        super().__init__(settings, context)
        self.settings = settings

    def solving_bytes(self) -> int:
        """The system of all its columns and its directions."""
        tried = self.settings.components
        return solver_bytes(self.features, len(tried)) + 8 * self.features * max(tried)

    def readout(self) -> LinearReadout:
        """The weights of the chosen number of components, cut into layers."""
        best = self.cross_validated(self.settings.components, partial_least_squares)
        info: dict[str, Any] = sweep_info(best, "components", "tried")
        return self.linear(best.solution.weights, best.solution.bias, info)


def partial_least_squares(
    problem: Standardised, components: Sequence[float]
) -> tuple[Float[Tensor, "a p 1"], Bool[Tensor, " a"]]:
    """Weights of PLS1 for each number of components: least squares within the Krylov space of C and r (Helland 1988).

    An orthonormal basis q_1 = r / |r|, q_k ~ C q_(k-1) less what lies in q_1 ... q_(k-1) (Lanczos, twice over)
    gives v = Q (Q'CQ)^-1 Q'r. Beyond the last direction that there is, the weights stay.
    """
    right = problem.r[:, 0]
    basis, images = _krylov(problem.C, right, int(max(components)))
    found = []
    for wanted in components:
        k = min(int(wanted), basis.shape[1])
        Q, CQ = basis[:, :k], images[:, :k]
        inner = torch.linalg.solve(Q.T @ CQ, Q.T @ right) if k else Q.T @ right
        found.append(Q @ inner)
    return torch.stack(found)[:, :, None], torch.ones(len(found), dtype=torch.bool, device=problem.r.device)


def _krylov(
    C: Float[Tensor, "p p"], r: Float[Tensor, " p"], most: int
) -> tuple[Float[Tensor, "p k"], Float[Tensor, "p k"]]:
    """(orthonormal basis of span(r, C r, C^2 r, ...), C times it), of at most `most` directions."""
    basis, images = r.new_empty(len(r), 0), r.new_empty(len(r), 0)
    direction = r
    while basis.shape[1] < min(most, len(r)):
        before = torch.linalg.vector_norm(direction)
        for _ in range(2):
            direction = direction - basis @ (basis.T @ direction)
        length = torch.linalg.vector_norm(direction)
        if not length > EXHAUSTED * before:
            break
        q = (direction / length)[:, None]
        basis, images = torch.cat([basis, q], dim=1), torch.cat([images, C @ q], dim=1)
        direction = images[:, -1]
    return basis, images
