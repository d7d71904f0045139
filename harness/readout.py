"""What a probe returns: features -> saliency map, made of tensors and settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from harness.density import blur, enlarge, known_blur
from harness.grid import resize
from harness.links import known_link, linked
from harness.position import TERMS, WINDOW, terms, windowed
from harness.rounds import Round
from harness.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float

_KINDS: dict[str, type[Readout]] = {}


class Readout(ABC):
    """Maps (b, h, w) for a batch, on any grid: the evaluation brings them to the stimulus' own resolution.

    A subclass names its `kind` in the class statement and says what it is made of by `state`/`from_state`.
    """

    kind: ClassVar[str]
    layers: tuple[str, ...] = ()
    link: str = "identity"
    """The pointwise function between `logits` and the maps."""
    info: dict[str, Any]
    """How it came about (alpha, sweep, loss curves, warnings with their flags), JSON-able; saved beside the weights."""
    unscorable: ClassVar[str] = "no map"
    """Why an image that is in no round has no score."""
    saved: ClassVar[bool] = True
    """Whether it can be written to files."""

    def __init_subclass__(cls, kind: str, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.kind = kind
        _KINDS[kind] = cls

    @abstractmethod
    def __call__(self, batch: Batch) -> Float[Tensor, "b h w"]:
        """The saliency maps."""

    def logits(self, batch: Batch) -> Float[Tensor, "b h w"]:
        """The maps before a pointwise link, if there is one: what is calibrated into a density."""
        return self(batch)

    def parts(self, batch: Batch) -> Mapping[str, Float[Tensor, "b h w"]]:
        """What each layer adds to `logits` (before a blur), on one grid, where they are such a sum; else nothing."""
        return {}

    def log_density(self, batch: Batch) -> Float[Tensor, "b h w"] | None:
        """The log of a density at the stimulus' own resolution, for readouts that have one; None: calibrate."""
        return None

    def scored_against(self, batch: Batch) -> Batch:
        """The ground truth these maps are scored against: the batch itself, unless the readout used part of it."""
        return batch

    def rounds(self, batch: Batch) -> Iterator[Round]:
        """What is scored, by default its maps once; an image's score is the mean over its rounds."""
        yield Round(batch, self(batch), self.scored_against(batch))

    def corrected(self, metric: str, score: float) -> float | str:
        """What is reported of an image's score: by default the score, else another or the reason why there is none."""
        return score

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON-able settings that `from_state` rebuilds it from."""

    @classmethod
    @abstractmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""

    def to(self, device: torch.device) -> Self:
        """The same readout with its tensors on `device`."""
        tensors, settings = self.state()
        moved = self.from_state({name: t.to(device) for name, t in tensors.items()}, settings)
        moved.info = self.info
        return moved


class LinearReadout(Readout, kind="linear"):
    """z = bias + sum_l U_l (c X_l w_l) + position terms, on the fitting grid; then the blur, if any, and the link.

    Weights are applied on each layer's own grid and only the single-channel maps are resized. c is the `window`, or 1.
    With a `blur` (a Gaussian's sigma, in cells of the fitting grid) z is brought to the stimulus' resolution and
    blurred there, which is linear, too. "identity" leaves the map linear, a link of `harness.links` makes it a
    generalised linear one.
    """

    def __init__(
        self,
        weights: Mapping[str, Float[Tensor, " c"]],
        bias: float,
        *,
        blur: float = 0.0,
        link: str = "identity",
        window: Float[Tensor, "wh ww"] | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        self.weights = dict(weights)
        self.bias, self.blur, self.link, self.window = float(bias), known_blur(blur), known_link(link), window
        self.layers = tuple(name for name in self.weights if name not in TERMS)
        self.info = info or {}

    def __call__(self, batch: Batch) -> Float[Tensor, "b h w"]:
        """Maps on the batch's fitting grid; with a blur at the stimulus' resolution."""
        return linked(self.logits(batch), self.link)

    def logits(self, batch: Batch) -> Float[Tensor, "b h w"]:
        """Maps before the link."""
        sums = self.sums(batch)
        return enlarge(sums, self.blur, batch.size) if self.blur else sums

    def sums(self, batch: Batch) -> Float[Tensor, "b gh gw"]:
        """What all layers add up to, on the fitting grid: before a blur."""
        total = torch.full((len(batch), *batch.grid), self.bias, device=batch.device)
        for part in self.parts(batch).values():
            total = total + part
        return total

    def parts(self, batch: Batch) -> Mapping[str, Float[Tensor, "b h w"]]:
        """What each layer adds, on the fitting grid: before a blur."""
        found = {}
        for name, weight in self.weights.items():
            x = terms(name, batch, self.window) if name in TERMS else batch.features[name]
            read = torch.einsum("bchw,c->bhw", x, weight.to(x.dtype)).float()
            found[name] = resize(read if name in TERMS else windowed(read, self.window), batch.grid)
        return found

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """One vector a layer, and the scalars."""
        settings = {"bias": self.bias, "blur": self.blur, "link": self.link, "layers": list(self.weights)}
        tensors = {f"weight.{name}": weight for name, weight in self.weights.items()}
        return {**tensors, **({} if self.window is None else {WINDOW: self.window})}, settings

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        weights = {name: tensors[f"weight.{name}"] for name in settings["layers"]}
        return cls(weights, settings["bias"], **_finish(tensors, settings))


def _finish(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a saved linear readout does with its sums; those of before there was a blur have none."""
    return {"blur": settings.get("blur", 0.0), "link": settings["link"], "window": tensors.get(WINDOW)}


class SmoothedReadout(LinearReadout, kind="smoothed"):
    """A linear readout whose map is blurred (`sigma` cells of the fitting grid), a fixed map added: still linear."""

    def __init__(
        self,
        weights: Mapping[str, Float[Tensor, " c"]],
        bias: float,
        *,
        sigma: float,
        prior: Float[Tensor, "h w"],
        blur: float = 0.0,
        link: str = "identity",
        window: Float[Tensor, "wh ww"] | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(weights, bias, blur=blur, link=link, window=window, info=info)
        self.sigma, self.prior = float(sigma), prior

    def parts(self, batch: Batch) -> Mapping[str, Float[Tensor, "b h w"]]:
        """What each layer adds after the blur, and the prior."""
        found = {name: smooth(part, self.sigma) for name, part in super().parts(batch).items()}
        prior = resize(self.prior.to(batch.device), batch.grid)
        return {**found, PRIOR: prior.expand(len(batch), *batch.grid)}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As a linear readout, with the prior and the blur."""
        tensors, settings = super().state()
        return {**tensors, PRIOR: self.prior}, {**settings, "sigma": self.sigma}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        weights = {name: tensors[f"weight.{name}"] for name in settings["layers"]}
        how = {"sigma": settings["sigma"], "prior": tensors[PRIOR], **_finish(tensors, settings)}
        return cls(weights, settings["bias"], **how)


class MapReadout(Readout, kind="map"):
    """A whole map at once from globally pooled features: map = bias + W' gap(X), on a fixed raster.

    Without layers it is a constant map in relative coordinates: the centre prior, the uniform map.
    """

    def __init__(
        self,
        bias: Float[Tensor, "h w"],
        weights: Mapping[str, Float[Tensor, "c h w"]] | None = None,
        *,
        link: str = "identity",
        info: dict[str, Any] | None = None,
    ) -> None:
        self.bias, self.weights, self.link = bias, dict(weights or {}), known_link(link)
        self.layers = tuple(self.weights)
        self.info = info or {}

    def __call__(self, batch: Batch) -> Float[Tensor, "b h w"]:
        """Maps on the readout's own raster."""
        return linked(self.logits(batch), self.link)

    def logits(self, batch: Batch) -> Float[Tensor, "b h w"]:
        """Maps before the link."""
        total = self.bias[None].float().expand(len(batch), -1, -1)
        for name, weight in self.weights.items():
            pooled = batch.features[name].float().mean(dim=(2, 3))
            total = total + torch.einsum("bc,chw->bhw", pooled, weight)
        return total

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The raster's bias and one block a layer."""
        tensors = {f"weight.{name}": weight for name, weight in self.weights.items()}
        return {"bias": self.bias, **tensors}, {"layers": list(self.weights), "link": self.link}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        weights = {name: tensors[f"weight.{name}"] for name in settings["layers"]}
        return cls(tensors["bias"], weights, link=settings["link"])


PRIOR = "prior"
"""The name of the fixed map among what layers add."""


def smooth(maps: Float[Tensor, "b h w"], sigma: float) -> Float[Tensor, "b h w"]:
    """Maps blurred by a Gaussian of `sigma` of their own cells, borders reflected; 0: as they are."""
    return blur(maps, sigma) if sigma > 0 else maps


def kinds() -> list[str]:
    """The kinds of readouts that are loaded, sorted."""
    return sorted(_KINDS)


def rebuilt(kind: str, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], info: dict[str, Any]) -> Readout:
    """A readout from its `kind`, its `state` and its own account; KeyError for a kind that is not loaded."""
    readout = _KINDS[kind].from_state(tensors, settings)
    readout.info = info
    return readout
