"""The cells of a matrix, and the groups that share a backbone's passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness._backbone import Backbone
from harness._probe import Bound, Probe
from harness.types import LayerSpec

NO_BACKBONE = "none"


@dataclass(frozen=True)
class Cell:
    """One point of the matrix, before its weights and data are known."""

    dataset: str
    backbone: str
    weights: str
    """As the recipe asks for them; the result's row has what they resolved to."""
    layer_set: str
    """The label, e.g. "layer3", "layer2+layer3", "all"."""
    layers: tuple[LayerSpec, ...]
    probe_label: str
    probe: Probe
    seed: int
    skip: str | None = None
    depth: int | None = None
    """How deep its one layer lies, counted from 0; None for several layers or none."""
    broken: bool = False
    """Whether `skip` tells of a plugin that cannot be used: its row is then "failed"."""
    counts: bool = True
    """Whether it is the floor or ceiling that its probe says: of several only one is."""
    plugins: tuple[tuple[str, str], ...] = ()
    """(name, sha256) of what it is made of that came from plugin files."""

    @property
    def bound(self) -> Bound | None:
        """Whether its scores are the floor or the ceiling of this run's explainable range."""
        return self.probe.bound if self.counts else None

    @property
    def unrun(self) -> Literal["failed", "skipped"]:
        """The status of a cell that has a reason not to be run."""
        return "failed" if self.broken else "skipped"

    @property
    def label(self) -> str:
        """How people name it."""
        if self.backbone == NO_BACKBONE:
            return self.probe_label
        return f"{self.backbone}/{self.weights} · {self.layer_set} · {self.probe_label}"


@dataclass(frozen=True)
class Group:
    """Cells fed by the same passes: those of one backbone, or those that need no network."""

    backbone: Backbone | None
    cells: tuple[Cell, ...]

    @property
    def runnable(self) -> tuple[Cell, ...]:
        """Cells that are not skipped."""
        return tuple(cell for cell in self.cells if cell.skip is None)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Every layer some cell reads, shallow to deep."""
        if self.backbone is None:
            return ()
        wanted = {layer.name for cell in self.runnable for layer in cell.layers}
        return tuple(layer for layer in self.backbone.available_layers() if layer.name in wanted)

    @property
    def passes(self) -> int:
        """Passes over the training images that its probes expect to ask for."""
        return max((cell.probe.passes() for cell in self.runnable), default=0)
