"""What the study's result folders say, in one JSON document: everything that the write-up states is taken from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ResultsError
from harness.results import interval_columns, share_columns
from harness.statistics import holm
from reports._board import label, own_seconds, shared_seconds
from reports.comparisons import between_runs, both, planned_tests
from reports.provenance import machine
from reports.study import Row, Study, read_studies
from reports.writeup.choices import BETWEEN, CC, RECIPE, TWINS, Cell, Facts, find, planned, run_names, trained
from reports.writeup.pictures import failing

METRICS = (CC, "auc", "nss", "ig")


def read_runs(results: Path) -> dict[str, Study]:
    """Those of the study's runs that lie below a results folder, by the name they have in the recipe."""
    folders = [folder for name in run_names() if (folder := results / f"{RECIPE}-{name}").is_dir()]
    return {study.board.recipe.removeprefix(f"{RECIPE}-"): study for study in read_studies(folders, CC)}


def gather(runs: Mapping[str, Study], earlier: Facts | None = None) -> Facts:
    """The facts of these runs, and of the others what was known earlier: no run depends on another."""
    known = earlier or {"runs": {}}
    facts: Facts = {"runs": {}, "cells": {}, "tests": {}}
    for name in run_names():
        if name in runs:
            facts["runs"][name] = _run(runs[name])
            facts["cells"][name] = [_cell(runs[name], row) for row in runs[name].scored]
            facts["tests"][name] = list(_tests(runs[name], facts["cells"][name]))
        elif name in known["runs"]:
            facts |= {part: {**facts[part], name: known[part][name]} for part in facts}
    facts["between"] = _between(runs, known.get("between", {}))
    facts["failures"] = _failures(runs["eye"]) if "eye" in runs else known.get("failures", {})
    return facts


def check_complete(facts: Facts, results: Path) -> None:
    """Raises ResultsError where nothing is known of some run, or a part of it only."""
    if missing := [f"{RECIPE}-{name}" for name in run_names() if name not in facts["runs"]]:
        raise ResultsError(f"{results}: no {', '.join(missing)}; first: salprobe run {RECIPE} --out {results}")
    for name, run in facts["runs"].items():
        if run["unfinished"]:
            raise ResultsError(
                f"{RECIPE}-{name} has {run['unfinished']} cells that did not finish; salprobe run {RECIPE}:{name} "
                "tries them again"
            )


def _run(study: Study) -> dict[str, Any]:
    about, environment = study.about.get("dataset", {}), study.about.get("environment", {})
    finished = study.board.finished
    return {
        "dataset": study.board.dataset,
        "train": about.get("train", {}).get("images"),
        "test": about.get("test", {}).get("images"),
        "cells": len(finished),
        "unfinished": len(study.board.others),
        "passes_seconds": {name: round(seconds, 1) for name, seconds in shared_seconds(study.board).items()},
        "seconds": round(sum(shared_seconds(study.board).values()) + sum(map(own_seconds, finished)), 1),
        "machine": machine(study.about),
        "commit": environment.get("git_commit"),
        "precision": study.recipe.get("precision"),
        "torch": environment.get("packages", {}).get("torch"),
    }


def _cell(study: Study, row: Row) -> Cell:
    found: Cell = {name: row[name] for name in ("backbone", "weights", "layers", "depth", "probe")}
    fitting = sum(row.get(f"time_{phase}_s") or 0.0 for phase in ("fit", "solve"))
    found |= {"key": row["cell_key"], "label": label(row), "fitting_seconds": round(fitting, 2)}
    found |= {metric: _rounded(row.get(metric)) for metric in METRICS}
    found |= {name: _rounded(row.get(name)) for name in (*interval_columns(CC), *share_columns(CC))}
    told = {"alpha": study.info(row).get("alpha"), "flags": row.get("flags")}
    return found | {name: value for name, value in told.items() if value is not None}


def _tests(study: Study, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    """The planned comparisons, with Holm's correction over them."""
    rows = {row["cell_key"]: row for row in study.scored}
    pairs = list(planned(cells))
    found = planned_tests(study, [(rows[a["key"]], rows[b["key"]]) for a, b in pairs], CC) if pairs else []
    for (a, b), test in zip(pairs, found, strict=True):
        if test is not None:
            yield {"a": a["label"], "b": b["label"], **_numbers(test), "images": int(test["n"])}


def _between(runs: Mapping[str, Study], known: Mapping[str, Any]) -> dict[str, Any]:
    """By the run of TWINS what its twin has over it; a test holds as long as neither run is another."""
    found = {}
    for name, twin in TWINS.items():
        if name in runs and twin in runs:
            found[name] = list(_twins(runs[twin], runs[name]))
        elif name in known and name not in runs and twin not in runs:
            found[name] = known[name]
    return found


def _twins(one: Study, other: Study) -> Iterator[dict[str, Any]]:
    """What readouts of one run have over those of another, on the same images, with Holm's correction over them."""
    made = []
    for layers, probe in BETWEEN:
        a, b = (find(trained(study.scored), layers=layers, probe=probe) for study in (one, other))
        if a and b and (test := between_runs(one, a, other, b, CC)):
            made.append((layers, probe, test))
    for (layers, probe, test), p in zip(made, holm([test.p_value for *_, test in made]), strict=True):
        yield {"layers": layers, "probe": probe, **_numbers({**vars(test), "p_holm": p}), "images": test.n}


def _numbers(test: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: _rounded(test[name], 6) for name in ("difference", "low", "high", "p_value", "p_holm")}


def _failures(study: Study) -> dict[str, Any]:
    """Where the best readout fails, and whether people agree there: image by image, CC of both."""
    best, ceiling = study.best, study.bound("ceiling")
    if best is None or ceiling is None:
        return {}
    ours, theirs = (np.array(column) for column in both(study, best, ceiling, CC))
    scores, people = (study.results[row["cell_key"]].per_image for row in (best, ceiling))
    return {
        "cell": label(best),
        "correlation_with_people": _rounded(float(np.corrcoef(ours, theirs)[0, 1])),
        "quantiles": {str(q): _rounded(float(np.quantile(ours, q / 100))) for q in (5, 25, 50, 75, 95)},
        "below_half": int((ours < 0.5).sum()),
        "images": len(ours),
        "worst": [
            {"image": image, "cc": _rounded(scores.score_of(image)[CC]), "people": _rounded(people.score_of(image)[CC])}
            for image in failing(scores)
        ],
    }


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(float(value), digits)
