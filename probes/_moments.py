"""What every probe that fits from the streamed second moments lets a recipe choose; how its trainer begins and ends.

The stream feeds one set of moments for all these cells of a backbone; a trainer only says what it will need and solves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from harness import Context, Trainer, added
from harness.density import known_blur
from harness.flags import EDGE, flag
from harness.links import POWER, POWERED, powered
from harness.moments import Moments
from harness.normal_equations import CrossValidated, Solve, cross_validate
from harness.position import POSITION_TERMS, WINDOW_TERM
from harness.readout import LinearReadout
from harness.targets import STANDARDISED, TargetName, mixed
from harness.types import LayerSpec
from harness.wanted_ridges import Wanted

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class MomentsSettings:
    """The fields that say what is fitted to what."""

    target: TargetName = "density"
    """What is regressed: the density (mean 1 an image), the density standardised per image, or its square root so."""
    position: bool = False
    """Add x, y, x^2, y^2, xy as features: a centre bias inside the same equations."""
    root: float = added(0.0)
    """Of target standardised: so large a share of the target is the square root's."""
    link: Literal["identity", "rectified", "softplus"] = added("identity")
    """What the map goes through: rectified, max(0, z)^power, or softplus, log(1 + e^z)^power, of its z-scores z. Either
    makes the readout a generalised linear one."""
    power: float = added(POWER)
    """Of the link."""
    blur: float = added(0.0)
    """The map is brought to the image's own resolution and blurred there before the link, by a Gaussian of so many
    cells of the fitting grid: it stays linear. 0: neither."""
    centre: float = added(0.0)
    """Features are multiplied by the centre prior to this power, place by place: weights that change with the position,
    by a fixed factor. 0: not at all."""

    def __post_init__(self) -> None:
        """Raises ValueError for powers and shares that cannot be, or do nothing."""
        if not 0 < self.power < math.inf:
            raise ValueError(f"power must be positive, not {self.power}")
        if self.power != POWER and self.link not in POWERED:
            raise ValueError(f"power is of link: {' or '.join(POWERED)}; with link: {self.link} it does nothing")
        known_blur(self.blur)
        if not 0 <= self.root < 1:
            raise ValueError(f"root must be a share from 0 to below 1, not {self.root} (for all of it, target: root)")
        if self.root and self.target != STANDARDISED:
            raise ValueError(f"root is of target: {STANDARDISED}; with target: {self.target} it does nothing")
        if not 0 <= self.centre < math.inf:
            raise ValueError(f"centre must not be negative, not {self.centre}")

    @property
    def revision(self) -> int:
        """2: features that hardly ever respond are not blown up to unit variance."""
        return 2

    def named(self, name: str) -> str:
        """The name with the variants that change what is fitted, and the link."""
        extras = [self.fitted_to] * (self.target != "density") + ["position"] * self.position
        extras += [f"centre{self.centre:g}"] * (self.centre != 0) + [f"blur{self.blur:g}"] * (self.blur != 0)
        return "-".join([name, *extras, *([self.map_link] if self.link != "identity" else [])])

    @property
    def fitted_to(self) -> str:
        """The target's full name, its share of square roots included."""
        return mixed(self.root) if self.root else self.target

    @property
    def map_link(self) -> str:
        """The link's full name, its power included."""
        return powered(self.link, self.power)

    @property
    def window_terms(self) -> tuple[LayerSpec, ...]:
        """The window as one more layer: what a constant becomes there."""
        return (WINDOW_TERM,) * (self.centre != 0)

    @property
    def position_terms(self) -> tuple[LayerSpec, ...]:
        """Those of the position as one more layer."""
        return (POSITION_TERMS,) * self.position

    def columns(self, layers: tuple[LayerSpec, ...]) -> tuple[LayerSpec, ...]:
        """The layers, and the window and the position terms as more of them."""
        return (*layers, *self.window_terms, *self.position_terms)


class MomentsTrainer(Trainer):
    """Asks for its blocks at the start, solves at the end; the stream feeds the moments, not this."""

    def __init__(self, settings: MomentsSettings, context: Context) -> None:
        columns = settings.columns(context.layers)
        self.layers, self.more = (*context.layers, *settings.window_terms), settings.position_terms
        self.names, self.widths = [c.name for c in columns], [c.channels for c in columns]
        self.blur, self.link, self.target = settings.blur, settings.map_link, settings.fitted_to
        window = _window(context.centre_prior() ** settings.centre) if settings.centre else None
        key = "moments" if window is None else ("moments", settings.centre)
        self.moments = context.shared(key, lambda: Moments(context.n_folds, window=window))
        self.moments.need(columns, self.target)
        self.gather = partial(self.moments.equations, self.names, [self.target])

    @property
    def features(self) -> int:
        """How many columns the system has."""
        return sum(self.widths)

    def cross_validated(self, candidates: Sequence[float], solve: Solve) -> CrossValidated:
        """The best candidate over the folds that were seen, fitted on all of them."""
        return cross_validate(self.gather, self.moments.folds, candidates, solve)

    def want_ridge(self, alphas: Sequence[float], penalties: Mapping[str, float] | None = None) -> Wanted:
        """Say at the start that `best_ridge` will be called: cells that differ in little else share the solving.

        The penalties are those of layers, in units of alpha; 1 for who has none.
        """
        each = tuple(penalties.get(layer.name, 1.0) for layer in self.layers) if penalties else ()
        wanted = Wanted(self.layers, self.more, self.target, tuple(alphas), each)
        self.moments.ridges.want(wanted)
        return wanted

    def best_ridge(self, wanted: Wanted) -> CrossValidated:
        """The same for a ridge that was wanted."""
        return self.moments.ridges.find(wanted, self.moments.equations, self.moments.folds)

    def linear(self, weights: Float[Tensor, "p 1"], bias: Float[Tensor, " 1"], info: dict[str, Any]) -> LinearReadout:
        """The weights cut into layers, before the link."""
        parts = torch.split(weights[:, 0].float(), self.widths)
        return LinearReadout(
            dict(zip(self.names, parts, strict=True)),
            bias.item(),
            blur=self.blur,
            link=self.link,
            window=self.moments.window,
            info=info,
        )


def _window(powered: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Mean square 1, so that penalties mean what they mean without."""
    return (powered / powered.square().mean().sqrt()).float()


def check_alphas(alphas: Sequence[float], *, zero: bool = True) -> None:
    """Raises ValueError where there is none, or one that is no penalty."""
    if not alphas or not all(math.isfinite(alpha) and (alpha > 0 or (zero and alpha == 0)) for alpha in alphas):
        raise ValueError(f"alphas must be {'numbers from 0 on' if zero else 'positive numbers'}, not {list(alphas)}")


def sweep_info(best: CrossValidated, parameter: str = "alpha", grid: str = "alphas") -> dict[str, Any]:
    """The sweep as it is saved with a readout; flags a choice at the edge of its grid."""
    info: dict[str, Any] = {
        parameter: best.solution.alpha,
        grid: list(best.alphas),
    }
    if best.cv_error:
        info["cv_error"] = [e if e < float("inf") else None for e in best.cv_error]
    if best.at_edge:
        flag(info, EDGE, f"{parameter} {best.solution.alpha:g} is at the edge of its grid")
    return info
