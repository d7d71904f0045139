"""What a run found, in a few sentences, and which runs may be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.results import share_columns
from reports._board import label, percent, score, score_with_interval
from reports._pairs import DIFFERENT, difference, p_value
from reports.comparisons import Test, between_runs, compare, p_in_words
from reports.study import Row, Study


def answer(study: Study) -> list[str]:
    """Best cell, share of the explainable range, and whether it is really better than the next."""
    best = study.best
    if best is None:
        return ["No cell was scored."]
    return [_headline(study, best), *_rivals(study, best)]


def _headline(study: Study, best: Row) -> str:
    by = study.by
    text = f"{label(best)} predicts gaze best: {by.upper()} {score_with_interval(best, by)}"
    low, high = study.bound("floor"), study.bound("ceiling")
    if percent(best, by) == "–" or low is None or high is None:
        return f"{text}."
    _, *ends = (best.get(name) for name in share_columns(by))
    sure = f" [{ends[0]:.0%}, {ends[1]:.0%}]" if None not in ends else ""
    return (
        f"{text}, {percent(best, by)} %{sure.replace('%', ' %')} of the explainable range between {low['probe']} "
        f"({score(low, by)}) and {high['probe']} ({score(high, by)})."
    )


def _rivals(study: Study, best: Row) -> Iterator[str]:
    others = [row for row in study.networks if row is not best]
    if not others:
        return
    tests = compare(study, [(best, row) for row in others], study.by)
    if (first := tests[0]) is not None:
        yield (
            f"Its difference from the runner-up, {label(others[0])}, is {difference(first)} ({p_in_words(first)}, "
            f"{first['n']} images): {_verdict(first)}."
        )
    every = [test for test in tests if test]
    if len(every) > 1:
        number = sum(test["p_holm"] < DIFFERENT for test in every)
        yield f"It differs from {number} of the {len(every)} other cells with a network (p (Holm) < {DIFFERENT})."


def _verdict(test: Test) -> str:
    return "a real difference" if test["p_holm"] < DIFFERENT else "no more than chance may give"


def comparability(studies: Sequence[Study]) -> list[str]:
    """Where runs were not scored on the same images in the same way; empty where they may be compared."""
    found = []
    digests = held_out_digests(studies)
    if None in digests and len(studies) > 1:
        found.append("It is not known for every run which images it was scored on.")
    elif len(set(digests)) > 1:
        images = (
            f"{s.name}: {s.board.dataset}, {_images(s)} images ({str(d)[:12]})"
            for s, d in zip(studies, digests, strict=True)
        )
        found.append(f"The runs were scored on different test sets ({'; '.join(images)}).")
    found += scored_differently(studies)
    if len({study.by for study in studies}) > 1:
        found.append("They are ranked by different metrics; --by chooses one.")
    return found


def held_out_digests(studies: Sequence[Study]) -> list[str | None]:
    """Of the held-out images and gaze that each run was scored on, where it says so."""
    return [study.about.get("dataset", {}).get("test", {}).get("digest") for study in studies]


def scored_differently(studies: Sequence[Study]) -> list[str]:
    """Where runs were scored by more than one version of the scoring code."""
    versions = {str(r.identity.get("scoring_version")) for s in studies for r in s.results.values() if r.identity}
    if len(versions) < 2:
        return []
    return [f"They were scored by different versions of the scoring code ({', '.join(sorted(versions))})."]


def head_to_head(studies: Sequence[Study]) -> Iterator[str]:
    """The best cell of each run against that of the first, paired over images; only for comparable runs."""
    one, *others = studies
    for other in others:
        a, b = one.best, other.best
        if a is None or b is None:
            continue
        if test := between_runs(one, a, other, b, one.by):
            yield (
                f"{one.name} ({label(a)}) minus {other.name} ({label(b)}): {difference(vars(test))} in "
                f"{one.by.upper()}, p {p_value(test.p_value)}, {test.n} images."
            )


def _images(study: Study) -> int:
    return int(study.best["n_images"]) if study.best else 0
