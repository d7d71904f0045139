"""python -m reports.writeup RESULTS --out FOLDER: read the study's runs, write facts.json, figures and README.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from harness.errors import SalprobeError
from harness.files import make_folder, replace
from reports.figures import style
from reports.figures._drawing import save_png
from reports.writeup.choices import Facts
from reports.writeup.facts import check_complete, gather, read_runs
from reports.writeup.figures import figures
from reports.writeup.pictures import worst
from reports.writeup.render import render

FACTS, PAGE = "facts.json", "README.md"


def write(facts: Facts, out: Path) -> None:
    """Facts, page and figures; raises ResultsError before anything is written."""
    text = render(facts)
    replace(out / FACTS, json.dumps(facts, indent=1).encode())
    with style():
        for drawn in figures(facts):
            save_png(drawn, out)
    replace(out / PAGE, text.encode())


def update(results: Path, out: Path) -> None:
    """Write with the runs in the results folder in the place of those known earlier; raises ResultsError."""
    runs = read_runs(results)
    earlier = json.loads((out / FACTS).read_text(encoding="utf-8")) if (out / FACTS).exists() else None
    facts = gather(runs, earlier)
    check_complete(facts, results)
    write(facts, out)
    if "eye" in runs:
        worst(runs["eye"], out)


def main() -> None:
    """Exit code 7 where results are missing, or no longer say what a sentence claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", help="the folder given to salprobe run study --out")
    parser.add_argument("--out", type=Path, required=True, help="runs that RESULTS lacks keep the facts they have here")
    chosen = parser.parse_args()
    try:
        make_folder(chosen.out)
        if chosen.results is not None:
            update(chosen.results, chosen.out)
        else:
            write(json.loads((chosen.out / FACTS).read_text(encoding="utf-8")), chosen.out)
    except SalprobeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
