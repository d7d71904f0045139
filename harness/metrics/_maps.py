"""Two kinds of ground truth that must never be mixed up: a blurred density and counts of fixations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Density:
    """Blurred gaze, (b, h, w), float, non-negative: what CC, SIM and KLD compare with."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class FixationCounts:
    """Gaze points per pixel, (b, h, w), integer: what NSS, AUC and IG count."""

    values: Tensor
