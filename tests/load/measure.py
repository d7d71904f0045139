"""The load at full size: python -m tests.load.measure [--cells 200] [--images 500] [--out FOLDER]."""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

from rich.console import Console

from harness.memory import peak_bytes
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.run import run
from harness.tracking import MlflowObserver
from harness.tracking.matrices import stored_matrices
from reports.report import write_report
from reports.terminal import print_leaderboard
from tests.load.many_rows import timed
from tests.load.matrices import many_cells


def many_in_one(out: Path, cells: int, *, track: bool) -> dict[str, float]:
    """So many cells of a small network in one matrix: seconds of this process, MiB, lines of the table."""
    found: dict[str, float] = {}
    start = time.process_time()
    observer = MlflowObserver()
    folder = run(make_plan(parse_recipe(many_cells(cells))), out, Silent(), [observer] if track else []).folder
    found["run, s"] = time.process_time() - start
    if track:
        if observer.error or observer.uri is None:
            raise RuntimeError(observer.error)
        start = time.process_time()
        found["matrices in MLflow"] = len(stored_matrices(observer.uri))
        found["MLflow's view, s"] = time.process_time() - start
    start = time.process_time()
    console = Console(file=io.StringIO(), width=120)
    print_leaderboard(folder, console)
    found["terminal, s"] = time.process_time() - start
    assert isinstance(console.file, io.StringIO)
    found["terminal lines"] = console.file.getvalue().count("\n")
    start = time.process_time()
    write_report([folder], out / "report")
    found["report, s"] = time.process_time() - start
    found["page, MiB"] = (out / "report" / "index.html").stat().st_size / 2**20
    found["peak memory, MiB"] = peak_bytes() / 2**20
    return found


def main() -> None:
    """Print what it takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = asked.out or Path(temporary)
        for name, value in many_in_one(out, asked.cells, track=True).items():
            print(f"{asked.cells} cells: {name} {value:.2f}", flush=True)
        for name, value in timed(out / "rows" / "rows", asked.cells, asked.images).items():
            print(f"{asked.cells} cells of {asked.images} images: {name} {value:.1f} s", flush=True)


if __name__ == "__main__":
    main()
