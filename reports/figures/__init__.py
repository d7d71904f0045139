"""The figures of a report, in the order in which they are read; each draws itself or says that it has nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from reports.figures._drawing import Drawn, inline, save, style
from reports.figures.alphas import alphas
from reports.figures.controls import controls
from reports.figures.distributions import distributions
from reports.figures.layer_curve import layer_curve
from reports.figures.layer_weights import layer_weights
from reports.figures.solvers import solvers
from reports.figures.time import time
from reports.figures.training import training
from reports.study import Study

__all__ = ["KINDS", "Drawn", "Kind", "draw", "inline", "save", "style"]


@dataclass(frozen=True)
class Kind:
    """A section of the page: one figure of all runs, or one of each."""

    name: str
    title: str
    of_each: Callable[[Study], Drawn | None] | None = None
    of_all: Callable[[Sequence[Study]], Drawn | None] | None = None
    without: str = ""
    """Why there is no such figure, where there is none."""


KINDS = (
    Kind("layer_curve", "Which layer", of_all=layer_curve, without="No network was read at more than one depth."),
    Kind(
        "controls",
        "Is it the training",
        controls,
        without="The run has no untrained network and no pixels to compare with.",
    ),
    Kind("solvers", "Ridge against gradient descent", solvers, without="No layers were read by both."),
    Kind(
        "layer_weights", "Weights over layers", layer_weights, without="No readout of several layers tells its shares."
    ),
    Kind("distributions", "Single images", distributions, without="The scores of single images are not there."),
    Kind("training", "Training curves", training, without="Nothing was trained by gradient descent."),
    Kind("alphas", "Ridge penalties", alphas, without="No penalty was chosen among several."),
    Kind("time", "Time", time, without="No times are known."),
)


def draw(kind: Kind, studies: Sequence[Study]) -> Iterator[tuple[str, Drawn]]:
    """(name of the run, or nothing where it is of all, the figure), named after both; to be called within `style`."""
    if kind.of_all and (drawn := kind.of_all(studies)):
        yield "", drawn
    for study in studies if kind.of_each else ():
        drawn = kind.of_each(study) if kind.of_each else None
        if drawn:
            several = len(studies) > 1
            name = f"{study.name.replace('/', '-')}-{drawn.name}" if several else drawn.name
            yield study.name if several else "", dataclasses.replace(drawn, name=name)
