"""facts.json -> the write-up's Markdown: numbers are looked up, claims are checked, nothing is typed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from harness.errors import ResultsError
from harness.paired import EXACT
from harness.statistics import RESAMPLES
from reports._board import has_network, percent, score, score_with_interval
from reports._pairs import decimals, difference, p_value
from reports.study import is_pixels
from reports.writeup import choices
from reports.writeup.choices import CC, Cell, Facts
from reports.writeup.figures import learning_curve

TOGETHER = {
    choices.STAGES: "five stages",
    choices.BLOCKS: "all 17 blocks",
    choices.SIZES: "seven layers at two image sizes",
}
FLOOR = round(1 / (1 + RESAMPLES), 6)
"""The smallest p-value that RESAMPLES sign flips can tell, as facts.json rounds it."""
HEAD = (
    "| weights | layers | probe | eye: CC [95 %] | range % | AUC | NSS | mouse: CC |",
    "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |",
)


class ClaimError(ResultsError):
    """A sentence of the write-up does not hold for these results."""


def render(facts: Facts) -> str:
    """The page; raises ClaimError naming a sentence the facts do not bear out, ResultsError for missing cells."""
    if missing := list(choices.lacking(facts)):
        raise ResultsError(f"the write-up speaks of cells that the results lack: {'; '.join(missing)}")
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(),  # of HTML alone: this is Markdown, of numbers and names of our own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"score": score_or_dash, "signed": signed}
    environment.filters |= {"ci": lambda cell: score_with_interval(cell or {}, CC), "number": number}
    environment.filters["percent"] = lambda cell: percent(cell or {}, CC)
    environment.globals |= {name: getattr(choices, name) for name in dir(choices) if not name.startswith("_")}
    environment.globals |= {"facts": facts, "claim": claim, "test": lambda *names: test(facts, *names)}
    environment.globals["gained"] = lambda *names: gained(facts, *names)
    environment.globals |= {"curve": lambda **names: learning_curve(facts, **names)}
    return environment.get_template("study.md.j2").render()


def results_table(facts: Facts) -> list[str]:
    """The README's table: the best block of each stage, several together, controls, floor and ceiling."""
    eye, mouse = facts["cells"]["eye"], facts["cells"]["mouse"]
    network, untrained = choices.trained(eye), choices.untrained(eye)
    chosen = [
        choices.find(eye, probe="centre"),
        *choices.best_of_stages(network).values(),
        *(choices.find(eye, layers=name, probe=choices.RIDGE, weights=network[0]["weights"]) for name in TOGETHER),
        choices.best(choices.single(network, choices.KL)),
        choices.best(choices.single(untrained)),
        choices.find(untrained, layers=choices.BLOCKS, probe=choices.RIDGE),
        choices.best(choices.filters(eye)),
        choices.find(eye, probe="observers"),
    ]
    return [*HEAD, *(_line(cell, mouse) for cell in chosen if cell)]


def _line(cell: Cell, mouse: Iterable[Cell]) -> str:
    """The cell's numbers, and the CC of the same readout trained and tested on the other recordings."""
    layers = "all filters" if is_pixels(cell) else TOGETHER.get(cell["layers"], cell["layers"])
    names = [*((cell["weights"], layers) if has_network(cell) else ("", "")), cell["probe"]]
    numbers = [score_with_interval(cell, CC), percent(cell, CC), score(cell, "auc"), score(cell, "nss")]
    return "| " + " | ".join([*names, *numbers, score_or_dash(choices.alike(cell, mouse))]) + " |"


def claim(holds: object, words: str) -> str:
    """The words, if they are true; raises ClaimError."""
    if not holds:
        raise ClaimError(f"the results do not say (any more): {words}")
    return words


def score_or_dash(cell: Cell | None, metric: str = CC) -> str:
    """ "0.743", or a dash where the study has no such cell."""
    return score(cell or {}, metric)


def signed(test: dict[str, Any]) -> str:
    """ "+0.021 [0.014, 0.028], p = 0.004"; "p ≤ 0.004" where no flip of so many was as extreme."""
    least = test["images"] > EXACT and test["p_value"] <= FLOOR
    p = p_value(test["p_holm"])
    return f"{difference(test)}, p {p.replace('=', '≤') if least else p}"


def test(facts: Facts, run: str, a: Cell, b: Cell) -> dict[str, Any]:
    """The comparison of these cells, as a minus b; raises ClaimError where the study did not make it."""
    for found in facts["tests"][run]:
        if (found["a"], found["b"]) == (a["label"], b["label"]):
            return dict(found)
        if (found["a"], found["b"]) == (b["label"], a["label"]):
            return {**found, "difference": -found["difference"], "low": -found["high"], "high": -found["low"]}
    raise ClaimError(f"{run}: {a['label']} was not compared with {b['label']}")


def gained(facts: Facts, run: str, layers: str, probe: str) -> str:
    """What the run's twin has over it, as `signed` has it; where it was not tested the difference alone."""
    for found in facts["between"].get(run, ()):
        if (found["layers"], found["probe"]) == (layers, probe):
            return signed(found)
    ours, theirs = (choices.trained(facts["cells"][name]) for name in (choices.TWINS[run], run))
    a, b = (choices.find(cells, layers=layers, probe=probe) or {} for cells in (ours, theirs))
    return f"{decimals(a[CC] - b[CC], '+')} (not tested)"


def number(value: float, digits: int = 3) -> str:
    """ "0.012", "−0.004"; "1,234" with digits=0."""
    return f"{value:,.{digits}f}".replace("-", "−")
