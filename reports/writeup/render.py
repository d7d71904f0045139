"""facts.json -> the write-up's Markdown: numbers are looked up, claims are checked, nothing is typed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.errors import ResultsError
from reports.writeup import choices
from reports.writeup.choices import CC, Cell, Facts
from reports.writeup.figures import learning_curve

DIFFERENT = 0.05


class ClaimError(ResultsError):
    """A sentence of the write-up does not hold for these results."""


def render(facts: Facts) -> str:
    """The page; raises ClaimError naming the sentence that is not true of these facts."""
    environment = Environment(  # noqa: S701 - Markdown, of numbers and names of our own
        loader=PackageLoader("reports"),
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
    """The README's table: the best block of each stage, all of them together, controls, floor and ceiling."""
    eye, mouse = facts["cells"]["eye"], facts["cells"]["mouse"]
    chosen: list[tuple[str, Cell, list[Cell]]] = [("centre", _one(eye, probe="centre"), mouse)]
    for cell in choices.best_of_stages(choices.trained(eye)).values():
        chosen.append((cell["layers"], cell, choices.trained(mouse)))
    for name in (choices.STAGES, choices.BLOCKS):
        words = {choices.STAGES: "five stages", choices.BLOCKS: "all 17 blocks"}[name]
        chosen.append((words, _one(choices.trained(eye), layers=name, probe=choices.RIDGE), choices.trained(mouse)))
    chosen.append(("seven layers, two image sizes", _one(eye, layers=choices.SIZES, probe=choices.RIDGE), mouse))
    sgd = choices.best(choices.single(choices.trained(eye), choices.KL))
    chosen.append((sgd["layers"], sgd, choices.trained(mouse)))
    for cells, of in ((choices.untrained(eye), choices.untrained(mouse)), (choices.pixels(eye), choices.pixels(mouse))):
        cell = choices.best(cell for cell in cells if cell["probe"] == choices.RIDGE)
        chosen.append((cell["layers"], cell, of))
    chosen.append(("observers", _one(eye, probe="observers"), mouse))
    lines = ["| weights | layers | probe | eye: CC [95 %] | share | AUC | NSS | mouse: CC |"]
    lines.append("| --- | --- | --- | --- | ---: | ---: | ---: | ---: |")
    for name, cell, others in chosen:
        network = cell["depth"] is not None or cell["layers"] not in ("", "none", None)
        other = choices.find(others, layers=cell["layers"], probe=cell["probe"])
        named = [cell["weights"], name, cell["probe"]] if network else ["", "", cell["probe"]]
        numbers = [with_interval(cell), percent(cell), score(cell, "auc"), score(cell, "nss"), score(other)]
        lines.append("| " + " | ".join([*named, *numbers]) + " |")
    return lines


def _one(cells: Iterable[Cell], **names: Any) -> Cell:
    found = choices.find(cells, **names)
    if found is None:
        raise ClaimError(f"no cell with {', '.join(f'{name} {value}' for name, value in names.items())}")
    return found


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


def differ(tests: Iterable[dict[str, Any]]) -> int:
    """How many of them are more than chance."""
    return sum(one["p_holm"] < DIFFERENT for one in tests)
