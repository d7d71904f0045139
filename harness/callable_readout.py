"""Any callable from a batch to maps as a readout: scored like the others, but nothing of it can be saved."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

import torch
from torch import Tensor

from harness import distributed
from harness.errors import PluginError
from harness.readout import Readout
from harness.types import Batch

if TYPE_CHECKING:
    from jaxtyping import Float

Maps = Callable[[Batch], Tensor]
UNSAVED = "a bare callable: its readout cannot be saved"


class CallableReadout(Readout, kind="callable"):
    """Hands the batch to the callable."""

    saved = False

    def __init__(self, maps: Maps) -> None:
        self.maps, self.info = maps, {"warnings": [UNSAVED]}

    def __call__(self, batch: Batch) -> Float[Tensor, "b h w"]:
        """What the callable says."""
        return self.maps(batch)

    def to(self, device: torch.device) -> Self:
        """Itself: nobody knows what it is made of."""
        return self

    def state(self) -> NoReturn:
        """There is nothing that could be written."""
        raise PluginError(f"{UNSAVED}; return a LinearReadout, or a Readout with state and from_state")

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> NoReturn:
        """There is nothing that could be read."""
        raise PluginError(UNSAVED)


def as_readout(result: object) -> Readout:
    """What a trainer returned as a readout; raises PluginError for what is none and cannot be called."""
    if isinstance(result, Readout):
        return _savable(result)
    if not callable(result):
        kind = type(result).__name__
        raise PluginError(f"readout() returned {kind}: return a Readout, or a callable from a batch to maps (b, h, w)")
    if distributed.size() > 1:
        try:
            pickle.dumps(result)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise PluginError(f"this callable cannot go to the other processes ({error}): return a Readout") from error
    return CallableReadout(result)


def _savable(readout: Readout) -> Readout:
    """The readout itself; raises PluginError where its account or its settings cannot be written as JSON."""
    if not hasattr(readout, "info"):
        readout.info = {}
    try:
        json.dumps([readout.info, readout.state()[1] if readout.saved else {}])
    except TypeError as error:
        raise PluginError(f"info and the settings of state() must be plain numbers, texts, lists: {error}") from error
    return readout
