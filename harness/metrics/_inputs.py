"""The checks every metric makes before it computes: type, shape, size and device, each refusal naming the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.errors import MetricInputError
from harness.metrics._batch import by_chunks
from harness.metrics._maps import Density, FixatedPixels, FixationCounts, Form

if TYPE_CHECKING:
    from jaxtyping import Float


def prediction_of(given: Tensor, name: str = "prediction") -> Float[Tensor, "b h w"]:
    """A map to be scored: float32 or float64 (half precision is widened)."""
    if not isinstance(given, Tensor):
        raise MetricInputError(f"{name} must be a floating-point tensor (batch, height, width), not {_kind(given)}")
    _check_shape(given, name)
    if not given.is_floating_point():
        raise MetricInputError(f"{name} must be floating point, not {given.dtype}: convert it with .float()")
    given = given.detach()
    return given if given.dtype in (torch.float32, torch.float64) else given.float()


def density_of(
    given: Density | Tensor, prediction: Float[Tensor, "b h w"], name: str = "density"
) -> Float[Tensor, "b h w"]:
    """A real-valued map of the prediction's size, in the prediction's precision."""
    if isinstance(given, FixationCounts) or (isinstance(given, Tensor) and not given.is_floating_point()):
        raise MetricInputError(
            f"{name} must be a density (floating point), not {_kind(given)}: blur the counts with harness.density.blur"
        )
    values = prediction_of(given.values if isinstance(given, Density) else given, name)
    _check_same(values, name, prediction)
    return values.to(prediction.dtype)


def against_density(
    score: Callable[[Tensor, Tensor], Tensor], form: Form, prediction: Tensor, density: Density | Tensor
) -> Float[Tensor, " b"]:
    """`score(maps, form(density))` map by map; the form is made once for a Density of the prediction's precision."""
    maps = prediction_of(prediction)
    values = density_of(density, maps)
    if isinstance(density, Density) and density.values.dtype == maps.dtype:
        return by_chunks(score, maps, density.form(form))
    return by_chunks(lambda p, d: score(p, form(d)), maps, values)


def fixated_pixels_of(
    given: FixationCounts | Tensor, prediction: Float[Tensor, "b h w"], name: str = "fixations"
) -> FixatedPixels:
    """The fixated pixels of a count map of the prediction's size."""
    if isinstance(given, Tensor):
        given = FixationCounts(given)
    if not isinstance(given, FixationCounts):
        raise MetricInputError(f"{name} must be integer counts per pixel (FixationCounts), not {_kind(given)}")
    _check_shape(given.values, name)
    _check_same(given.values, name, prediction)
    try:
        return given.pixels
    except MetricInputError as error:
        raise MetricInputError(str(error).replace("fixations", name, 1)) from None


def _check_shape(given: Tensor, name: str) -> None:
    if given.ndim != 3:
        hint = ": add the batch axis with [None]" if given.ndim == 2 else ""
        raise MetricInputError(f"{name} must be (batch, height, width), not {tuple(given.shape)}{hint}")
    if 0 in given.shape[1:]:
        raise MetricInputError(f"{name} has no pixels: its shape is {tuple(given.shape)}")


def _check_same(given: Tensor, name: str, prediction: Tensor) -> None:
    if given.shape != prediction.shape:
        raise MetricInputError(
            f"prediction is {tuple(prediction.shape)} but {name} is {tuple(given.shape)}: bring both to one size first"
        )
    if given.device != prediction.device:
        raise MetricInputError(f"prediction is on {prediction.device} but {name} is on {given.device}")


def _kind(given: object) -> str:
    return f"{given.dtype} tensor" if isinstance(given, Tensor) else type(given).__name__
