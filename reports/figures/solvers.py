"""Ridge against gradient descent on the same layers, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports._board import label
from reports._pairs import DIFFERENT, difference, p_value
from reports.comparisons import Test, both, compare, p_in_words
from reports.figures._drawing import Drawn, canvas, key, titled
from reports.palette import FAINT, PRETRAINED, UNTRAINED, styles
from reports.study import Row, Study, by_depth, is_random

CLOSED, GRADIENT = "ridge", "sgd"
MOST = 3
"""Losses shown beside each other."""


@dataclass(frozen=True)
class Match:
    """One layer set read by both solvers; the test is of gradient descent minus ridge."""

    sgd: Row
    ridge: Row
    test: Test

    @property
    def differs(self) -> bool:
        """Whether the difference is told from none."""
        return bool(self.test["p_holm"] < DIFFERENT)


def solvers(study: Study) -> Drawn | None:
    """None where no layer set was read by both."""
    matches = _matches(study)
    losses = list(dict.fromkeys(str(match.sgd["probe"]) for match in matches))[:MOST]
    if not losses:
        return None
    by_loss = {loss: [match for match in matches if match.sgd["probe"] == loss] for loss in losses}
    groups = list(dict.fromkeys(_group(match) for match in matches if match.sgd["probe"] in losses))
    figure, axes = canvas(2, len(losses), height=3.2)
    looks = styles(str(match.sgd["weights"]) for match in matches)
    for axis, (loss, own) in zip(axes, by_loss.items(), strict=False):
        _forest(axis, study, loss, own, groups, looks)
    for axis, (loss, own) in zip(axes[len(losses) :], by_loss.items(), strict=True):
        _scatter(axis, study, loss, _shown(own, study))
    figure.legend(handles=_legend(looks), loc="outside lower center", ncols=4)
    table = [["layers read", "with", "difference, 95 % interval", "p", "p (Holm)", "images"], *map(_line, matches)]
    return Drawn("solvers", figure, _caption(study, by_loss), _alt(study, matches), table)


def _matches(study: Study) -> list[Match]:
    """Every pair of cells that differ in nothing but the solver, shallow to deep, trained networks first."""
    rows = sorted(by_depth(study.networks), key=is_random)
    pairs = [(b, a) for b in rows for a in rows if _kind(b) == GRADIENT and _kind(a) == CLOSED and _same(a, b)]
    tests = compare(study, pairs, study.by)
    found = [Match(sgd, ridge, test) for (sgd, ridge), test in zip(pairs, tests, strict=True) if test]
    plain = [match for match in found if match.ridge["probe"] == CLOSED]
    return plain or found


def _kind(row: Row) -> str | None:
    return next((kind for kind in (CLOSED, GRADIENT) if kind in _tokens(row)), None)


def _same(a: Row, b: Row) -> bool:
    """Same network, layers and seed, and the same family of probes: what stands before the solver's name."""
    family = [_tokens(a)[: _tokens(a).index(CLOSED)], _tokens(b)[: _tokens(b).index(GRADIENT)]]
    names = ("backbone", "weights", "layers", "seed")
    return family[0] == family[1] and all(a[name] == b[name] for name in names)


def _tokens(row: Row) -> list[str]:
    return str(row["probe"]).partition("[")[0].split("-")


def _group(match: Match) -> tuple[str, str]:
    return str(match.sgd["backbone"]), str(match.sgd["layers"])


def _shown(matches: Sequence[Match], study: Study) -> Match:
    """The layers of the best cell, else those whose better cell ranks first."""
    best, rank = study.best or {}, {row["cell_key"]: place for place, row in enumerate(study.networks)}
    names = ("backbone", "weights", "layers")
    alike = [match for match in matches if all(match.sgd[name] == best.get(name) for name in names)]
    return min(alike or matches, key=lambda m: min(rank[m.sgd["cell_key"]], rank[m.ridge["cell_key"]]))


def _forest(
    axis: Axes,
    study: Study,
    loss: str,
    matches: Sequence[Match],
    groups: list[tuple[str, str]],
    looks: dict[str, tuple[str, str]],
) -> None:
    axis.axvline(0, color=FAINT, linewidth=1)
    spread = 0.16 * (len(looks) - 1)
    for match in matches:
        n = list(looks).index(str(match.sgd["weights"]))
        y = groups.index(_group(match)) + 2 * spread * (n / max(1, len(looks) - 1)) - spread
        colour, marker = looks[str(match.sgd["weights"])]
        test = match.test
        error = [[test["difference"] - test["low"]], [test["high"] - test["difference"]]]
        face = colour if match.differs else "white"
        axis.errorbar([test["difference"]], [y], xerr=error, fmt=marker, color=colour, markerfacecolor=face)
    several = len({backbone for backbone, _ in groups}) > 1
    axis.set_yticks(range(len(groups)), [f"{b} {layers}" if several else layers for b, layers in groups])
    axis.set_ylim(len(groups) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(f"{study.by.upper()}: {loss} minus ridge")
    axis.set_title(f"{loss} minus ridge, by layers")


def _scatter(axis: Axes, study: Study, loss: str, match: Match) -> None:
    x, y = both(study, match.ridge, match.sgd, study.by)
    colour = UNTRAINED if is_random(match.sgd) else PRETRAINED
    axis.scatter(x, y, s=11, color=colour, alpha=0.55, linewidths=0)
    ends = [min([*x, *y], default=0.0), max([*x, *y], default=1.0)]
    axis.plot(ends, ends, color=FAINT, linewidth=1)
    better = sum((b > a) == study.higher_is_better for a, b in zip(x, y, strict=True) if a != b)
    words = f"{difference(match.test)}\n{p_in_words(match.test)}\n{loss} better on {better} of {len(x)} images"
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel(f"{study.by.upper()} of an image, ridge\n\n{words}")
    axis.set_ylabel(f"{study.by.upper()} of it, {loss}")
    titled(axis, f"{match.sgd['weights']} · {match.sgd['layers']}, each image")


def _legend(looks: dict[str, tuple[str, str]]) -> list[Line2D]:
    handles = [key(weights, colour, marker) for weights, (colour, marker) in looks.items()]
    return [*handles, key("open: p (Holm) ≥ 0.05", FAINT, "o", hollow=True)]


def _caption(study: Study, by_loss: dict[str, list[Match]]) -> str:
    words = [
        "Paired over images: bars are 95 % intervals of the mean difference; a point in the lower row is an image."
    ]
    for loss, matches in by_loss.items():
        better = sum(match.differs and (match.test["difference"] > 0) == study.higher_is_better for match in matches)
        worse = sum(match.differs for match in matches) - better
        words.append(f"{loss} is better than ridge on {better} of {len(matches)} layer sets, worse on {worse}.")
    return " ".join(words)


def _line(match: Match) -> list[str]:
    p = [p_value(match.test[name]).removeprefix("= ") for name in ("p_value", "p_holm")]
    where = f"{match.sgd['backbone']}/{match.sgd['weights']} · {match.sgd['layers']}"
    return [where, f"{match.sgd['probe']} − {match.ridge['probe']}", difference(match.test), *p, str(match.test["n"])]


def _alt(study: Study, matches: Sequence[Match]) -> str:
    words = (f"{label(match.sgd)}: {difference(match.test)}, {p_in_words(match.test)}" for match in matches)
    return f"Differences in {study.by} from ridge on the same layers. " + "; ".join(words) + "."
