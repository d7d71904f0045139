"""facts.json -> the write-up's Markdown: numbers are looked up, claims are checked, nothing is typed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from harness.cells import NO_BACKBONE
from harness.errors import ResultsError
from reports.writeup import choices
from reports.writeup.choices import CC, Cell, Facts
from reports.writeup.figures import learning_curve

TOGETHER = {
    choices.STAGES: "five stages",
    choices.BLOCKS: "all 17 blocks",
    choices.SIZES: "seven layers at two image sizes",
}
HEAD = (
    "| weights | layers | probe | eye: CC [95 %] | share | AUC | NSS | mouse: CC |",
    "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |",
)


class ClaimError(ResultsError):
    """A sentence of the write-up does not hold for these results."""


def render(facts: Facts) -> str:
    """The page; raises ClaimError naming the sentence that is not true of these facts."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(),  # of HTML alone: this is Markdown, of numbers and names of our own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"score": score, "ci": with_interval, "percent": percent, "signed": signed, "number": number}
    environment.globals |= {name: getattr(choices, name) for name in dir(choices) if not name.startswith("_")}
    environment.globals |= {"facts": facts, "claim": claim, "test": lambda *names: test(facts, *names)}
    environment.globals |= {"curve": lambda **names: learning_curve(facts, **names)}
    return environment.get_template("study.md.j2").render()


def results_table(facts: Facts) -> list[str]:
    """The README's table: the best block of each stage, several together, controls, floor and ceiling."""
    eye, mouse = facts["cells"]["eye"], facts["cells"]["mouse"]
    network = choices.trained(eye)
    filters = [cell for cell in choices.pixels(eye) if cell["probe"] == choices.RIDGE]
    chosen = [
        choices.find(eye, probe="centre"),
        *choices.best_of_stages(network).values(),
        *(choices.find(eye, layers=name, probe=choices.RIDGE, weights=network[0]["weights"]) for name in TOGETHER),
        choices.best(choices.single(network, choices.KL)),
        choices.best(choices.single(choices.untrained(eye))),
        choices.best(filters),
        choices.find(eye, probe="observers"),
    ]
    return [*HEAD, *(_line(cell, mouse) for cell in chosen if cell)]


def _line(cell: Cell, mouse: Iterable[Cell]) -> str:
    """The cell's numbers, and the CC of the same readout trained and tested on the other recordings."""
    same = {name: cell[name] for name in ("backbone", "weights", "layers", "probe")}
    layers = "all filters" if cell["backbone"] == choices.PIXELS else TOGETHER.get(cell["layers"], cell["layers"])
    names = [*((cell["weights"], layers) if cell["backbone"] != NO_BACKBONE else ("", "")), cell["probe"]]
    numbers = [with_interval(cell), percent(cell), score(cell, "auc"), score(cell, "nss")]
    return "| " + " | ".join([*names, *numbers, score(choices.find(mouse, **same))]) + " |"


def claim(holds: object, words: str) -> str:
    """The words, if they are true; raises ClaimError."""
    if not holds:
        raise ClaimError(f"the results do not say (any more): {words}")
    return words


def score(cell: Cell | None, metric: str = CC) -> str:
    """ "0.743", ".743" without the zero; a dash for a cell there is not."""
    value = None if cell is None else cell.get(metric)
    return "–" if value is None else f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")


def with_interval(cell: Cell | None) -> str:
    """ ".743 [.726, .760]"."""
    if cell is None or cell.get("cc_ci_low") is None:
        return score(cell)
    return f"{score(cell)} [{score(cell, 'cc_ci_low')}, {score(cell, 'cc_ci_high')}]"


def percent(cell: Cell | None) -> str:
    """ "75 %" of the range from the centre to the observers."""
    share = None if cell is None else cell.get("share_cc")
    return "–" if share is None else f"{100 * share:.0f} %"


def signed(test: dict[str, Any]) -> str:
    """ "+.021 [.014, .028], p = .004"."""
    numbers = [f"{test[name]:+.3f}".replace("0.", ".", 1) for name in ("difference", "low", "high")]
    value, low, high = (number.replace("-", "−") for number in numbers)
    p = test["p_holm"]
    chance = "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".", 1)
    return f"{value} [{low.lstrip('+')}, {high.lstrip('+')}], p {chance}"


def test(facts: Facts, run: str, a: Cell, b: Cell) -> dict[str, Any]:
    """The comparison of these cells, as a minus b; raises ClaimError where the study did not make it."""
    for found in facts["tests"][run]:
        if (found["a"], found["b"]) == (a["label"], b["label"]):
            return dict(found)
        if (found["a"], found["b"]) == (b["label"], a["label"]):
            return {**found, "difference": -found["difference"], "low": -found["high"], "high": -found["low"]}
    raise ClaimError(f"{run}: {a['label']} was not compared with {b['label']}")


def number(value: float, digits: int = 3) -> str:
    """ ".012", "−.004"; whole numbers with digits=0."""
    return f"{value:,.{digits}f}".replace("-", "−").replace("0.", ".", 1) if digits else f"{value:,.0f}"
