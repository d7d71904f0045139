"""Paired tests between chosen cells: those the run made, the same tests made now, and tests between runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.paired import FLIPS_PER_PAIR, PairedTest, paired_difference, paired_tests
from harness.statistics import RESAMPLES, holm, seed_from
from reports._board import label
from reports._pairs import against, p_value
from reports.study import Row, Study

Test = dict[str, Any]


def compare(study: Study, pairs: Sequence[tuple[Row, Row]], metric: str) -> list[Test | None]:
    """A test of a - b for each pair, None below two images; Holm over the run's pairs, else over these."""
    firsts = {a["cell_key"] for a, _ in pairs}  # each searches all of the run's pairs
    known = {key: against(study.board.pairs, key, metric) for key in firsts}
    stored = [known[a["cell_key"]].get(b["cell_key"]) for a, b in pairs]
    missing = [i for i, test in enumerate(stored) if test is None]
    for i, test in zip(missing, planned_tests(study, [pairs[i] for i in missing], metric), strict=True):
        stored[i] = test
    return stored


def scores_of(study: Study, row: Row, metric: str) -> dict[int, float]:
    """The cell's scores by image, those that are finite."""
    result = study.results.get(row["cell_key"])
    if result is None or metric not in result.per_image.metrics:
        return {}
    ids, column = result.per_image.ids.tolist(), result.per_image.column(metric).tolist()
    return {image: value for image, value in zip(ids, column, strict=True) if math.isfinite(value)}


def both(study: Study, a: Row, b: Row, metric: str) -> tuple[list[float], list[float]]:
    """Two cells' scores of the images that both have, in the order of the images."""
    return matched_scores(study, a, study, b, metric)


def matched_scores(one: Study, a: Row, other: Study, b: Row, metric: str) -> tuple[list[float], list[float]]:
    """The same of one run's cell and another's."""
    return _matched(scores_of(one, a, metric), scores_of(other, b, metric))


def between_runs(one: Study, a: Row, other: Study, b: Row, metric: str) -> PairedTest | None:
    """One run's cell minus another's, over the images that both scored; None below two."""
    return paired(*matched_scores(one, a, other, b, metric), a, b, metric)


def paired(first: Sequence[float], second: Sequence[float], a: Row, b: Row, metric: str) -> PairedTest | None:
    """The same of the scores of images that both have, already matched."""
    if len(first) < 2:
        return None
    seed = seed_from(f"{a['cell_key']}/{b['cell_key']}", "runs", metric)
    return paired_difference(np.array(first), np.array(second), seed)


def p_in_words(test: Test) -> str:
    """ "p (Holm) = 0.010"."""
    return f"p (Holm) {p_value(test['p_holm'])}"


def planned_tests(study: Study, pairs: Sequence[tuple[Row, Row]], metric: str) -> list[Test | None]:
    """A test of a - b for each pair, None below two images; Holm over these pairs alone: they were planned."""
    made: list[Test | None] = []
    flips = max(RESAMPLES, FLIPS_PER_PAIR * len(pairs))  # enough for Holm's correction to leave something small
    for a, b in pairs:
        first, second = both(study, a, b, metric)
        if len(first) < 2:
            made.append(None)
            continue
        seed = seed_from(f"{a['cell_key']}/{b['cell_key']}", "report", metric)
        test = paired_tests(np.column_stack([first, second]), [(0, 1)], seed, flips=flips)[0]
        names = {"cell_a": a["cell_key"], "cell_b": b["cell_key"], "label_a": label(a), "label_b": label(b)}
        made.append({**names, "metric": metric, **vars(test)})
    adjusted = holm([test["p_value"] if test else math.nan for test in made])
    return [test and {**test, "p_holm": float(p)} for test, p in zip(made, adjusted, strict=True)]


def _matched(first: dict[int, float], second: dict[int, float]) -> tuple[list[float], list[float]]:
    images = sorted(first.keys() & second.keys())
    return [first[image] for image in images], [second[image] for image in images]
