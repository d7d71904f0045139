"""Which cells the write-up speaks of: the best layer, the best of a stage, what is compared with what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from harness.flags import EDGE, UNCONVERGED
from harness.recipe import load_recipes
from reports.study import is_pixels, is_random

Cell = dict[str, Any]
Facts = dict[str, Any]
RECIPE, CC = "study", "cc"
RIDGE, RIDGE_POSITION, MSE, KL = "ridge", "ridge-position", "sgd-mse", "sgd-kl"
PROBES = (RIDGE, RIDGE_POSITION, MSE, KL)
RIDGES = (RIDGE, RIDGE_POSITION)
"""They share the solving: what it took is told of the one that was solved first."""
STAGES, BLOCKS, SIZES = SETS = "all", "all blocks", "two sizes"
STAGE_NAMES = ("stem", "layer1", "layer2", "layer3", "layer4")
TWINS = {"mouse-to-eye": "eye", "eye-to-mouse": "mouse", "eye-200": "eye"}
"""Runs, and those that differ from them only in what was trained on: whose gaze, or how many images."""
BETWEEN = (("layer3.5", RIDGE), ("layer3.5", KL), (STAGES, RIDGE), (STAGES, KL))
"""The readouts by which such runs are compared."""
REGISTERED, MOVED = "eye-registered", "+registered"
"""The run that moves features to where layers look, beside leaving them; how such a backbone's name ends."""
CONTROLS, ONE_SIZE = "eye-controls", "one size"
"""The run of further draws of the untrained weights; its set of the layers of SIZES, all of them at full size."""


def find(cells: Iterable[Cell], **names: Any) -> Cell | None:
    """The cell with these names, e.g. layers="layer3.5", probe="ridge"."""
    return next((cell for cell in cells if all(cell[name] == value for name, value in names.items())), None)


def alike(cell: Cell, cells: Iterable[Cell]) -> Cell | None:
    """The same readout of another run."""
    return find(cells, **{name: cell[name] for name in ("backbone", "weights", "layers", "probe")})


def trained(cells: Iterable[Cell]) -> list[Cell]:
    """Of the pretrained network, at full size and at several sizes."""
    return [cell for cell in cells if _is_network(cell) and not is_random(cell)]


def untrained(cells: Iterable[Cell]) -> list[Cell]:
    """Of the same network with random weights."""
    return [cell for cell in cells if _is_network(cell) and is_random(cell)]


def weights_of(facts: Facts) -> list[str]:
    """Those of the pretrained network, in all runs."""
    return sorted({str(cell["weights"]) for cells in facts["cells"].values() for cell in trained(cells)})


def draws(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Of the untrained network, the cells of each draw of its weights."""
    found: dict[str, list[Cell]] = {}
    for cell in untrained(cells):
        found.setdefault(str(cell["weights"]), []).append(cell)
    return [found[name] for name in sorted(found)]


def moved(cells: Iterable[Cell]) -> list[Cell]:
    """Of features that were moved to where layers look."""
    return [cell for cell in cells if str(cell["backbone"]).endswith(MOVED)]


def unmoved(cell: Cell, cells: Iterable[Cell]) -> Cell | None:
    """The same readout of features left where they were."""
    names = {name: cell[name] for name in ("weights", "layers", "probe")}
    return find(cells, backbone=str(cell["backbone"]).removesuffix(MOVED), **names)


def filters(cells: Iterable[Cell]) -> list[Cell]:
    """Of the fixed filters, by ridge."""
    return [cell for cell in cells if is_pixels(cell) and cell["probe"] == RIDGE]


def single(cells: Iterable[Cell], probe: str = RIDGE) -> list[Cell]:
    """One layer each, shallow to deep."""
    found = [cell for cell in cells if cell["depth"] is not None and cell["probe"] == probe]
    return sorted(found, key=lambda cell: float(cell["depth"]))


def gains(cells: Sequence[Cell], over: str, probe: str) -> dict[str, float]:
    """What a probe has over another in CC, by layer."""
    base = {str(cell["layers"]): float(cell[CC]) for cell in single(cells, over)}
    found = {str(cell["layers"]): float(cell[CC]) for cell in single(cells, probe)}
    return {name: found[name] - score for name, score in base.items() if name in found}


def span(values: dict[str, float], first: str, last: str) -> list[float]:
    """Those from one layer to another, both included; the values are in order of depth."""
    names = list(values)
    return [values[name] for name in names[names.index(first) : names.index(last) + 1]]


def agreement(a: Sequence[Cell], b: Sequence[Cell], probe: str = RIDGE) -> float:
    """Spearman's correlation of two profiles of CC over the layers that both have."""
    one, other = ({str(cell["layers"]): float(cell[CC]) for cell in single(cells, probe)} for cells in (a, b))
    names = [name for name in one if name in other]
    return float(spearmanr([one[name] for name in names], [other[name] for name in names]).statistic)


def all_above(a: Iterable[Cell], b: Sequence[Cell]) -> bool:
    """Whether every readout of features has more CC in the one run than the same in the other."""
    pairs = [(cell, alike(cell, b)) for cell in a if cell["layers"] != "none"]
    return all(ours[CC] > theirs[CC] for ours, theirs in pairs if theirs)


def median(cells: Iterable[Cell]) -> float:
    """Of CC."""
    return float(np.median([cell[CC] for cell in cells]))


def cost(cells: Iterable[Cell], *probes: str) -> float:
    """Seconds of fitting all readouts of these probes, the passes through the network apart."""
    return float(sum(cell["fitting_seconds"] for cell in cells if cell["probe"] in probes))


def best(cells: Iterable[Cell]) -> Cell:
    """By CC; raises ValueError where there is none."""
    return max(cells, key=lambda cell: float(cell[CC]))


def ridges(cells: Iterable[Cell]) -> list[Cell]:
    """Those fitted in closed form."""
    return [cell for cell in cells if cell["probe"] in RIDGES]


def descended(cells: Iterable[Cell]) -> list[Cell]:
    """Those fitted by gradient descent."""
    return [cell for cell in cells if cell["probe"] in (MSE, KL)]


def unconverged(cells: Iterable[Cell]) -> list[Cell]:
    """Those whose loss was still falling when training ended."""
    return [cell for cell in cells if UNCONVERGED in str(cell.get("flags"))]


def at_edge(cells: Iterable[Cell]) -> list[Cell]:
    """Those that chose the smallest or the largest penalty of their grid."""
    return [cell for cell in cells if EDGE in str(cell.get("flags"))]


def of_set(cells: Iterable[Cell], layers: str) -> list[Cell]:
    """Those that read this layer or set of layers."""
    return [cell for cell in cells if cell["layers"] == layers]


def of_stage(cells: Iterable[Cell], stage: str) -> list[Cell]:
    """Those that read one block of that stage."""
    return [cell for cell in cells if str(cell["layers"]).partition(".")[0] == stage]


def best_of_stages(cells: Sequence[Cell], probe: str = RIDGE) -> dict[str, Cell]:
    """Each stage's best block."""
    found = {stage: of_stage(single(cells, probe), stage) for stage in STAGE_NAMES}
    return {stage: best(blocks) for stage, blocks in found.items() if blocks}


def run_names() -> list[str]:
    """Of the study's runs."""
    return [recipe.name.removeprefix(f"{RECIPE}-") for recipe in load_recipes(RECIPE)]


@cache
def blocks(run: str = "eye") -> tuple[str, ...]:
    """The layers that a run of the study reads alone, shallow to deep, the stem among them."""
    asked = load_recipes(f"{RECIPE}:{run}")[0].backbones[0].layers or ()
    return tuple(layers for layers in asked if isinstance(layers, str) and layers not in SETS)


def lacking(facts: Facts) -> Iterator[str]:
    """The cells that the page cannot do without and that these facts have not."""
    for run in ("eye", "mouse", "salicon"):
        network = trained(facts["cells"][run])
        wanted = [(layers, probe) for layers in (*blocks(), *SETS) for probe in PROBES]
        yield from (f"{run}: {l} · {p}" for l, p in wanted if find(network, layers=l, probe=p) is None)
        for probe in ("centre", "observers"):
            if find(facts["cells"][run], probe=probe) is None:
                yield f"{run}: {probe}"
    for run in ("eye", "salicon"):
        chance = untrained(facts["cells"][run])
        controls = [(layers, RIDGE) for layers in (*blocks(), *SETS)]
        yield from (f"{run}, random: {l} · {p}" for l, p in controls if find(chance, layers=l, probe=p) is None)
        if not filters(facts["cells"][run]):
            yield f"{run}: pixels · {RIDGE}"
    for layers in (*blocks(REGISTERED), STAGES):
        if find(moved(facts["cells"].get(REGISTERED, ())), layers=layers) is None:
            yield f"{REGISTERED}: {layers}"
    controls = facts["cells"].get(CONTROLS, ())
    if not (further := draws(controls)):
        yield f"{CONTROLS}: random"
    for cells in further:
        drawn = (*blocks(CONTROLS), STAGES)
        yield from (f"{CONTROLS}, {cells[0]['weights']}: {l}" for l in drawn if find(cells, layers=l) is None)
    for layers in (ONE_SIZE, SIZES):
        if find(trained(controls), layers=layers) is None:
            yield f"{CONTROLS}: {layers}"


def planned(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """The comparisons that the study makes, (a, b): what a has over b."""
    network = trained(cells)
    if registered := moved(network):
        yield from ((cell, plain) for cell in registered if (plain := unmoved(cell, network)))
        yield from _of_stages(registered)
        return
    if one := find(network, layers=ONE_SIZE):
        yield from ((two, one) for two in of_set(network, SIZES))
    layers = single(network)
    if not layers:
        return
    top = best(layers)
    for cell in best_of_stages(network).values():
        if cell is not top:
            yield top, cell
    yield from _of_sets(network, top)
    yield from _of_probes(network, str(top["layers"]))
    yield from _of_controls(cells, top)


def _of_stages(registered: Sequence[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """The best block of stage 4 against the last of stage 3, both where they look."""
    last, third = of_stage(single(registered), "layer4"), find(registered, layers="layer3.5@1", probe=RIDGE)
    if last and third:
        yield best(last), third


def _of_sets(network: Sequence[Cell], top: Cell) -> Iterator[tuple[Cell, Cell]]:
    """By ridge: the best block and the sets of layers, each against those before it."""
    together = [find(network, layers=name, probe=RIDGE) for name in SETS]
    yield from ((a, b) for b, a in combinations([top, *(cell for cell in together if cell)], 2))


def _of_probes(network: Sequence[Cell], layer: str) -> Iterator[tuple[Cell, Cell]]:
    for layers in (layer, STAGES, BLOCKS):
        ridge = find(network, layers=layers, probe=RIDGE)
        for probe in (RIDGE_POSITION, MSE, KL):
            other = find(network, layers=layers, probe=probe)
            if ridge and other:
                yield other, ridge


def _of_controls(cells: Sequence[Cell], top: Cell) -> Iterator[tuple[Cell, Cell]]:
    """By ridge: trained against untrained, the best untrained block against the filters, these against the centre."""
    chance, fixed, centre = single(untrained(cells)), filters(cells), find(cells, probe="centre")
    for a, b in ((top, chance), (chance, fixed), (fixed, [centre] if centre else [])):
        left = a if isinstance(a, dict) else best(a) if a else None
        if left and b:
            yield left, best(b)
    for name in SETS:
        ours, theirs = (find(of(cells), layers=name, probe=RIDGE) for of in (trained, untrained))
        if ours and theirs:
            yield ours, theirs


def _is_network(cell: Cell) -> bool:
    return str(cell["backbone"]).partition("@")[0] == "resnet50"
