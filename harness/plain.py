"""The plain form of a probe: `fit(features, density) -> weights` on a sample of positions, as in scikit-learn."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness._parameters import class_of, parameters_of, signature_of
from harness._probe import Context, Probe, Trainer
from harness.errors import PluginError
from harness.flags import UNCONVERGED
from harness.position_sample import PositionSample
from harness.readout import LinearReadout
from harness.targets import TargetName, target_map
from harness.types import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

GIVEN = ("groups", "seed")
"""What a fit may ask for by keyword: the image id of each sample, and the cell's seed."""


@dataclass(frozen=True, kw_only=True)
class PlainProbe(Probe):
    """`fit(features (n, c) float32, density (n,))` returns weights (c,), (weights, bias), or an object with coef_.

    It may ask for `groups` (n,), the image id of each sample, to cross-validate over whole images, and for `seed`.
    """

    positions: int = 20_000
    """Positions sampled over all training images; at most positions x (8 c + 13) bytes, and what fit takes."""
    target: TargetName = "density"
    """What is fitted: the density (mean 1 an image), the density standardised per image, or its square root so."""

    fit: ClassVar[Callable[..., Any]]

    def fitting_bytes(self, positions: int, channels: int) -> int:
        """What fit takes beside the sample, for the estimate before a run: by default a copy in float64."""
        return 8 * positions * channels

    def trainer(self, context: Context) -> Trainer:
        """Samples in one pass, fits at its end."""
        return PlainTrainer(self, context)


class PlainTrainer(Trainer):
    """Holds the sample of one cell."""

    def __init__(self, settings: PlainProbe, context: Context) -> None:
        if settings.positions < 1:
            raise ValueError(f"positions must be positive, not {settings.positions}")
        self.settings, self.context = settings, context
        self.sample = PositionSample(context.layers, context.n_images, settings.positions, context.seed)

    def expected_bytes(self) -> int:
        """The sample's slots."""
        return self.sample.held_bytes()

    def solving_bytes(self) -> int:
        """The array that is handed to fit, and what fit takes."""
        fitting = self.settings.fitting_bytes(self.settings.positions, self.sample.channels)
        return self.sample.handover_bytes() + fitting

    def update(self, batch: Batch) -> None:
        """Draw from every image."""
        self.sample.add(batch, target_map(self.settings.target, batch))

    def sums(self) -> Sequence[MutableMapping[str, Tensor]]:
        """The slots: each image fills its own, so that adding up joins the samples."""
        return (self.sample.tensors(),)

    def readout(self) -> LinearReadout:
        """The fitted weights, cut into layers; what the fit warned of goes with them."""
        drawn = self.sample.draw()
        self.sample.clear()
        asked = inspect.signature(self.settings.fit).parameters
        offered = {"groups": drawn.groups, "seed": self.context.seed}
        given = {name: value for name, value in offered.items() if name in asked}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = self.settings.fit(drawn.features, drawn.target, **given)
        weights, bias = as_weights(fitted, self.sample.channels)
        parts = torch.split(torch.from_numpy(weights).float(), [layer.channels for layer in self.context.layers])
        info: dict[str, Any] = {"positions": len(drawn.target), "images": len(np.unique(drawn.groups))}
        said = {f"{w.category.__name__}: {_first_words(w.message)}": w.category.__name__ for w in caught}
        info |= {"warnings": list(said)} if said else {}
        if "ConvergenceWarning" in said.values():  # scikit-learn's, which need not be there
            info["flags"] = [UNCONVERGED]
        return LinearReadout(
            dict(zip(self.context.layer_names, parts, strict=True)),
            bias,
            info=info,
        )


def _first_words(message: Warning | str) -> str:
    """The first paragraph, on one line."""
    return " ".join(str(message).partition("\n\n")[0].split())


def as_weights(fitted: Any, channels: int) -> tuple[NDArray[np.float64], float]:
    """(weights (c,), bias) of what a fit returned; raises PluginError for anything else and for what is not finite."""
    if fitted is None:
        raise PluginError("fit returned nothing: is its return missing?")
    if hasattr(fitted, "coef_"):
        fitted = (fitted.coef_, getattr(fitted, "intercept_", 0.0))
    weights, bias = fitted if isinstance(fitted, tuple) and len(fitted) == 2 else (fitted, 0.0)
    try:
        weights, bias = np.asarray(weights, np.float64).reshape(-1), np.asarray(bias, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        kind = type(fitted).__name__
        raise PluginError(f"fit returned {kind}; return weights, (weights, bias), or an object with coef_") from error
    if weights.shape != (channels,) or bias.shape != (1,):
        shapes = f"{weights.size} weights and {bias.size} biases"
        raise PluginError(f"fit returned {shapes} for {channels} channels: return one weight a channel and one bias")
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise PluginError("fit returned weights that are not finite: a constant channel may have been divided by zero")
    return weights, float(bias[0])


def probe_from_function(function: Callable[..., Any]) -> type[PlainProbe]:
    """A function `fit(features, density, *, parameter: type = default)` as a probe; raises PluginError."""
    signature = signature_of(function, ("features", "density"), GIVEN)

    def fit(self: PlainProbe, features: Any, density: Any, **given: Any) -> Any:
        return function(features, density, **parameters_of(self, signature), **given)

    asked = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in sorted(signature.given)]
    positional = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in ("self", "features", "density")]
    fit.__signature__ = inspect.Signature([*positional, *asked])  # type: ignore[attr-defined]
    return class_of(function, PlainProbe, signature, fit=fit)


def probe_from_class(cls: type[Any]) -> type[PlainProbe]:
    """A class of any descent with annotated parameters and a method `fit(features, density)` as a probe."""
    own = cls if "__dataclass_fields__" in cls.__dict__ else dataclass(frozen=True, kw_only=True)(cls)
    named = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    joined = type(cls.__name__, (own, PlainProbe), named)
    return dataclass(frozen=True, kw_only=True)(joined)
