"""What `make bench` publishes: one entry a benchmark in benchmarks.json, and benchmarks.md rendered from it.

An entry has `name`, `value`, `unit`, `goal` ("<= 1.5" or null) and `machine`, and may have `note` (what was measured,
for people), `details` (JSON) and `before` (an earlier value, kept until a run brings another). Merged by name: entries
of benchmarks that were not run, or were run on another machine, stay. Needs the standard library only.

Render again after an edit by hand: python -m tests.benchmarks.published reports/published
"""

from __future__ import annotations

import json
import math
import operator
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

JSON, MARKDOWN = "benchmarks.json", "benchmarks.md"
Entry = dict[str, Any]
COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
TITLE = """# Benchmarks

Written by `make bench` from [benchmarks.json](benchmarks.json), in which a run replaces the entries that it measured.
"""


def entry(
    name: str,
    value: float,
    unit: str,
    goal: str | None,
    machine: str,
    *,
    note: str = "",
    details: Mapping[str, Any] | None = None,
) -> Entry:
    """An entry with its numbers rounded; raises ValueError for a value that is not finite or a goal it cannot read."""
    if not math.isfinite(value):
        raise ValueError(f"benchmark {name}: {value} is not a number to publish")
    reached(value, goal)
    return {
        "name": name,
        "value": rounded(value),
        "unit": unit,
        "goal": goal,
        "machine": machine,
        "note": note,
        "details": rounded(dict(details or {})),
    }


def reached(value: float, goal: str | None) -> bool | None:
    """Whether a value meets a goal such as "<= 1.5"; None without a goal, ValueError for one that cannot be read."""
    if goal is None:
        return None
    sign, _, bound = goal.partition(" ")
    if sign not in COMPARE:
        raise ValueError(f"goal {goal!r}: write it as one of {', '.join(COMPARE)}, a space and a number")
    return bool(COMPARE[sign](value, float(bound)))


def rounded(value: Any, digits: int = 4) -> Any:
    """Floats to so many significant digits, all the way down; whole numbers and text as they are."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {str(key): rounded(item, digits) for key, item in value.items()}
    return [rounded(item, digits) for item in value] if isinstance(value, list | tuple) else value


def read(folder: Path) -> list[Entry]:
    """The entries published so far, none where there is no file."""
    path = folder / JSON
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def merge(old: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """By name, the new entry in the place of the old one; an old `before` stays where the new one brings none."""
    merged = {one["name"]: one for one in old}
    for one in new:
        before = merged.get(one["name"], {}).get("before")
        merged[one["name"]] = {**({"before": before} if before is not None else {}), **one}
    return [merged[name] for name in sorted(merged)]


def write(folder: Path, new: Sequence[Entry]) -> None:
    """Merge entries into the folder's benchmarks.json and render benchmarks.md."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = merge(read(folder), new)
    text = json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for name, content in ((JSON, text), (MARKDOWN, render(entries))):
        temporary = folder / f".{name}"
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(folder / name)


def render(entries: Sequence[Entry]) -> str:
    """benchmarks.md: the table, the machines, and a section of details per benchmark."""
    machines = {machine: f"M{i + 1}" for i, machine in enumerate(dict.fromkeys(one["machine"] for one in entries))}
    lines = [TITLE, "| what | value | goal | met | machine |", "| --- | ---: | --- | --- | --- |"]
    for one in entries:
        met = {True: "yes", False: "no", None: ""}[reached(one["value"], one["goal"])]
        cells = (f"[{one['name']}](#{one['name']})", _value(one), one["goal"] or "", met, machines[one["machine"]])
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {short}: {machine}" for machine, short in machines.items())]
    for one in entries:
        lines += ["", *_section(one)]
    return "\n".join(lines) + "\n"


def _section(one: Entry) -> list[str]:
    lines = [f"## {one['name']}", ""]
    if one.get("note"):
        lines += [one["note"], ""]
    if one.get("before") is not None:
        lines.append(f"- before: {_plain(one['before'])}; now: {_value(one)}")
    tables = []
    for key, value in one.get("details", {}).items():
        if isinstance(value, Mapping) and value and all(isinstance(row, Mapping) for row in value.values()):
            tables += ["", *_table(_words(key), value)]
        else:
            lines.append(f"- {_words(key)}: {_plain(value)}")
    text = [*lines, *tables]
    while text[-1] == "":
        text.pop()
    return text


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    header = [f"| {' | '.join([title, *map(_words, columns)])} |", f"| --- {'| ---: ' * len(columns)}|"]
    return header + [
        f"| {' | '.join([key, *(_plain(row.get(c, '')) for c in columns)])} |" for key, row in rows.items()
    ]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(key)} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _value(one: Entry) -> str:
    return f"{one['value']:g} {one['unit']}".strip()


if __name__ == "__main__":
    write(Path(sys.argv[1]), [])
