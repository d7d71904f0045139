"""Does memory stay flat? Small matrices again and again in one process: python -m tests.soak --minutes 30.

Every round runs a matrix with everything a run does (training, scoring, statistics, pictures, MLflow) and prints its
table, every fifth one writes the report. The memory after each round goes to a CSV file and a picture; flat is a median
of the last fifth of the rounds within 2 % of that of the first fifth after the warm-up. What is judged is the memory
that the process has filled itself, in core or swapped out: the resident set falls and rises with what the system takes
from it.
"""

from __future__ import annotations

import argparse
import csv
import gc
import io
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from harness.allocator import keep_pages
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.run import run
from harness.tracking import MlflowObserver
from reports.report import write_report
from reports.terminal import print_leaderboard
from tests.load.matrices import soaking

FLAT = 0.02
WARM_UP = 0.25
"""Of all rounds: until then caches fill (compiled code, fonts, MLflow's store)."""
REPORT_EVERY = 5
MIB = 2**20
Sample = tuple[int, float, float, float]
"""(round, seconds since the start, MiB filled by the process, MiB resident)."""


def memory() -> tuple[float, float]:
    """(filled by this process itself, resident), MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {name: int(rest.split()[0]) / 1024 for name, rest in (line.split(":", 1) for line in lines) if "kB" in rest}
    return found["RssAnon"] + found["VmSwap"], found["VmRSS"]


def one_round(out: Path, number: int) -> None:
    """A matrix from nothing, into a store that knows it from the round before."""
    shutil.rmtree(out / "soak", ignore_errors=True)
    observer = MlflowObserver()
    outcome = run(make_plan(parse_recipe(soaking())), out, Silent(), [observer])
    if outcome.counts["failed"] or observer.error:
        raise RuntimeError(f"round {number}: {outcome.counts}, {observer.error}")
    print_leaderboard(outcome.folder, Console(file=io.StringIO(), width=100))
    if number % REPORT_EVERY == 0:
        write_report([outcome.folder], out / "report")


def soak(minutes: float) -> list[Sample]:
    """Rounds until the time is over, at least ten of them."""
    keep_pages()  # as the command line does
    samples: list[Sample] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        while len(samples) < 10 or time.monotonic() - started < 60 * minutes:
            one_round(Path(folder), len(samples))
            gc.collect()
            samples.append((len(samples), time.monotonic() - started, *memory()))
            sys.stderr.write("round {}: {:.0f} s, {:.1f} MiB filled, {:.1f} MiB resident\n".format(*samples[-1]))
    return samples


def growth(samples: list[Sample]) -> float:
    """By what part the median of the last fifth lies above that of the first fifth, both after the warm-up."""
    warm = [filled for _, _, filled, _ in samples[int(WARM_UP * len(samples)) :]]
    fifth = max(1, len(warm) // 5)
    return statistics.median(warm[-fifth:]) / statistics.median(warm[:fifth]) - 1


def draw(samples: list[Sample], file: Path) -> None:
    """The curve, with the band of 2 % about where it stood after the warm-up."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axis = figure.subplots()
    warm = samples[int(WARM_UP * len(samples))]
    minutes = [seconds / 60 for _, seconds, *_ in samples]
    axis.axhspan(warm[2] * (1 - FLAT), warm[2] * (1 + FLAT), color="#dddddd", label="2 % about the end of the warm-up")
    axis.axvline(warm[1] / 60, color="#595959", linewidth=1, linestyle=":", label="end of the warm-up")
    for place, colour, label in ((3, "#a33b00", "resident"), (2, "#0b559f", "filled by the process, after each round")):
        axis.plot(minutes, [sample[place] for sample in samples], marker=".", linewidth=1, color=colour, label=label)
    axis.set(xlabel="minutes", ylabel="MiB", ylim=(0, 1.15 * max(max(sample[2:]) for sample in samples)))
    axis.set_title(f"{len(samples)} matrices in one process: {growth(samples):+.1%} after the warm-up")
    axis.legend(loc="lower right")
    figure.savefig(file, dpi=90)


def main() -> int:
    """Exit code 1 where memory grew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path, default=Path("soak"), help="where soak.csv and soak.png go")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    samples = soak(asked.minutes)
    with (asked.out / "soak.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["round", "seconds", "filled_mib", "resident_mib"])
        writer.writerows((n, *(f"{x:.1f}" for x in rest)) for n, *rest in samples)
    draw(samples, asked.out / "soak.png")
    grown = growth(samples)
    flat = abs(grown) <= FLAT
    sizes = [filled for _, _, filled, _ in samples]
    print(
        f"{len(samples)} rounds: first {sizes[0]:.0f}, last {sizes[-1]:.0f}, most {max(sizes):.0f} MiB; "
        f"{grown:+.1%} after the warm-up: {'flat' if flat else 'NOT flat'} within {FLAT:.0%}"
    )
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
