"""How much each layer contributes to the maps of a readout that reads several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


class LayerShares:
    """Shares of the maps' variance within images: cov(a layer's part, the sum of all parts) / var(the sum).

    They add up to 1; negative where a layer mostly takes back what others add (Pratt 1987, for a sum of parts).
    """

    def __init__(self) -> None:
        self._covariances: defaultdict[str, float] = defaultdict(float)

    def add(self, parts: Mapping[str, Float[Tensor, "b h w"]]) -> None:
        """A batch's maps before bias and link, cut into what each layer contributes, all on one grid."""
        centred = {name: part.double() - part.double().mean(dim=(1, 2), keepdim=True) for name, part in parts.items()}
        whole = sum(centred.values())
        for name, part in centred.items():
            self._covariances[name] += float((part * whole).sum())

    def merged(self, others: Iterable[LayerShares]) -> LayerShares:
        """Joined with what other processes saw."""
        joined = LayerShares()
        for shares in (self, *others):
            for name, covariance in shares._covariances.items():
                joined._covariances[name] += covariance
        return joined

    def covariances(self) -> dict[str, float]:
        """What was summed so far, by layer."""
        return dict(self._covariances)

    def restore(self, covariances: Mapping[str, float]) -> None:
        """Go on from that."""
        self._covariances = defaultdict(float, covariances)

    def shares(self) -> dict[str, float]:
        """By layer; empty where nothing was seen or every map is constant."""
        variance = sum(self._covariances.values())
        return {name: c / variance for name, c in self._covariances.items()} if variance > 0 else {}
