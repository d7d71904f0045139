"""What stands in the plan for a plugin that cannot be used: its cells are rows that say why, the others run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from harness._probe import Context, Probe
from harness.errors import PluginError


@dataclass(frozen=True)
class BrokenProbe(Probe):
    """A probe that did not load."""

    plugin: str
    error: str

    @property
    def label(self) -> str:
        """The name that the recipe has."""
        return self.plugin

    def trainer(self, context: Context) -> NoReturn:
        """There is none."""
        raise PluginError(self.error)


@dataclass(frozen=True)
class BrokenGazeProbe(BrokenProbe):
    """The same in a recipe without a backbone."""

    reads = "gaze"


def broken_probe(plugin: str, error: str, *, has_backbones: bool) -> BrokenProbe:
    """What it would have read nobody knows: layers, where the recipe has any."""
    return (BrokenProbe if has_backbones else BrokenGazeProbe)(plugin, error)
