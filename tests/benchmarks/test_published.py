"""The published benchmarks are well formed, and a run replaces what it measured and nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import published

PUBLISHED = Path(__file__).parent.parent.parent / "reports/published"
GOALS = {
    "matrix_over_forward_ridge": "<= 1.5",
    "matrix_over_forward_ridge_bf16": "<= 1.5",
    "matrix_over_forward_sgd": "<= 2.0",
    "matrix_over_forward_sgd_bf16": "<= 2.0",
    "speedup_over_naive_loop": None,
    "speedup_over_sklearn_ridge": None,
    "speedup_over_sklearn_sgd": None,
    "rss_growth_1024_over_64": "<= 1.05",
    "time_per_image_growth_1024_over_64": "<= 1.10",
    "help_s": "<= 1.0",
    "list_s": "<= 1.0",
}


def one(name: str, value: float = 1.0, **changes: Any) -> published.Entry:
    return {**published.entry(name, value, "times", "<= 1.5", "a machine"), **changes}


@pytest.mark.skipif(not (PUBLISHED / published.JSON).is_file(), reason="no benchmarks have been published yet")
def test_the_published_file() -> None:
    entries = published.read(PUBLISHED)
    names = [entry["name"] for entry in entries]
    assert names == sorted(set(names))
    for entry in entries:
        assert {"name", "value", "unit", "goal", "machine"} <= set(entry)
        assert math.isfinite(entry["value"])
        assert entry["machine"]
        published.reached(entry["value"], entry["goal"])
        assert entry["goal"] == GOALS.get(entry["name"], entry["goal"])
    assert (PUBLISHED / published.MARKDOWN).read_text(encoding="utf-8") == published.render(entries)


def test_a_run_replaces_its_own_entries_only(tmp_path: Path) -> None:
    published.write(tmp_path, [one("b", before={"value": 9.0}), one("c", machine="another")])
    published.write(tmp_path, [one("b", 2.0), one("a")])
    found = published.read(tmp_path)
    assert [(entry["name"], entry["value"], entry["machine"]) for entry in found] == [
        ("a", 1.0, "a machine"),
        ("b", 2.0, "a machine"),
        ("c", 1.0, "another"),
    ]
    assert found[1]["before"] == {"value": 9.0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmarks.json", "benchmarks.md"]


@given(st.lists(st.sampled_from("abcde")), st.lists(st.sampled_from("abcde")))
def test_names_stay_unique_and_sorted(old: list[str], new: list[str]) -> None:
    merged = published.merge(published.merge([], [one(name) for name in old]), [one(name, 2.0) for name in new])
    names = [entry["name"] for entry in merged]
    assert names == sorted({*old, *new})
    assert {entry["name"] for entry in merged if entry["value"] == 2.0} == set(new)


def test_rendered(tmp_path: Path) -> None:
    details = {"rounds": 3, "split": {"solve": 1.5}, "sides": {"ours": {"peak_mib": 10}, "theirs": {"seconds": 2.0}}}
    first = published.entry("first", 1.23456, "times", "<= 1.5", "a machine", note="What it is.", details=details)
    published.write(tmp_path, [first, one("second", 1.75), one("third", goal=None, before={"value": 3.0})])
    text = (tmp_path / published.MARKDOWN).read_text()
    assert "| [first](#first) | 1.235 times | <= 1.5 | yes | M1 |" in text
    assert "| [second](#second) | 1.75 times | <= 1.5 | no | M1 |" in text
    assert "| [third](#third) | 1 times |  |  | M1 |" in text
    assert "- M1: a machine" in text
    assert "## first\n\nWhat it is.\n\n- rounds: 3\n- split: solve 1.5\n" in text
    assert "| sides | peak mib | seconds |\n| --- | ---: | ---: |\n| ours | 10 |  |\n| theirs |  | 2 |" in text
    assert "- before: value 3; now: 1 times" in text
    json.loads((tmp_path / published.JSON).read_text())


@pytest.mark.parametrize(("value", "goal", "met"), [(1.5, "<= 1.5", True), (1.6, "<= 1.5", False), (2.0, "> 1", True)])
def test_goals(value: float, goal: str, met: bool) -> None:
    assert published.reached(value, goal) is met
    assert published.reached(value, None) is None


def test_what_cannot_be_published_is_refused() -> None:
    with pytest.raises(ValueError, match="about 2"):
        published.reached(1.0, "about 2")
    with pytest.raises(ValueError, match="not a number"):
        published.entry("a", math.nan, "s", None, "a machine")
