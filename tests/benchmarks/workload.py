"""The work that benchmarks measure: which images, which matrix, and a whole run of it with its time by phase."""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.data.dataset import Dataset, DatasetReader, Split
from harness.plan import Plan, make_plan
from harness.progress import Bar, Silent
from harness.recipe import parse_recipe
from harness.results import read_cells
from harness.run import run
from tests.benchmarks.machine import peak_mib, restart_peak

EPOCHS = 5
RIDGE: tuple[Any, ...] = ("ridge", "centre", "uniform", "observers")
WARM_UP = 4
WARM_LAYERS = ("stem", ["stem", "layer1"])


def sgd(*losses: str) -> dict[str, Any]:
    """Gradient-trained heads with these losses."""
    return {"name": "sgd", "loss": list(losses), "epochs": EPOCHS}


@dataclass(frozen=True)
class Job:
    """Which images and layer sets: OSIE if SALPROBE_TEST_DATA has it, else generated scenes of that size."""

    train: int
    test: int
    height: int = 480
    width: int = 640
    real: bool = True
    """False: generated ones, even where OSIE is there (to choose their number and size)."""
    layers: Sequence[Any] = ("each", "all")

    @property
    def osie(self) -> Path | None:
        """The folder of the real images, where there are enough of them."""
        folder = Path(os.environ.get("SALPROBE_TEST_DATA", "/nonexistent")) / "osie640"
        return folder if self.real and folder.is_dir() and self.train <= 500 and self.test <= 200 else None

    def dataset(self) -> dict[str, Any]:
        """The recipe's dataset entry."""
        if self.osie is None:
            size = {"height": self.height, "width": self.width}
            return {"reader": "demo", "train": self.train, "test": self.test, **size}
        files = {"train": "fixations_eye_train.json", "test": "fixations_eye_val.json"}
        return {"reader": "salicon", "root": str(self.osie), "edition": "custom", "points": "eye", **files}

    def describe(self) -> str:
        """For people: number, size, origin."""
        what = "OSIE, 480x640" if self.osie else f"generated scenes, {self.height}x{self.width}"
        return f"{self.train} training and {self.test} held-out images ({what})"


@dataclass(frozen=True)
class Cut(DatasetReader):
    """A reader's first images: a recipe's `limit` cannot cut the two splits differently."""

    reader: DatasetReader
    train: int
    test: int

    @property
    def label(self) -> str:
        """The reader's own."""
        return self.reader.label

    def read(self, split: Split) -> Dataset:
        """The first images of that split."""
        whole = self.reader.read(split)
        return whole.take(range(min(len(whole), self.train if split == "train" else self.test)))


def plan_for(job: Job, probes: tuple[Any, ...] = RIDGE, **changes: Any) -> Plan:
    """The matrix on ResNet-50 (random weights: the cost is the same), without tracking and pictures."""
    recipe = {
        "name": "benchmark",
        "dataset": job.dataset(),
        "backbones": [{"name": "resnet50", "weights": "random"}],
        "layers": list(job.layers),
        "probes": list(probes),
        "device": "cpu",
        "pictures": 0,
        "tracking": {"enabled": False},
        "cache": {"budget_gib": 4.0},
        **changes,
    }
    plan = make_plan(parse_recipe(recipe))
    return replace(plan, reader=Cut(plan.reader, job.train, job.test))


class Clock(Silent):
    """Shows nothing and adds up the seconds of every phase."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str, total: int, unit: str = "images") -> Iterator[Bar]:
        """Time a phase; "training, pass 2" counts as training."""
        start = time.perf_counter()
        with super().phase(name, total, unit) as bar:
            yield bar
        self.seconds[name.partition(",")[0].split(" ")[0]] += time.perf_counter() - start


@dataclass
class Measured:
    """A whole run."""

    seconds: float
    cpu_seconds: float
    """Of this process: more than `seconds` where something used a second thread."""
    peak_mib: float
    phases: dict[str, float]
    """Seconds by what they went into; adds up to `seconds`."""
    spans: dict[str, float] = field(default_factory=dict)
    """Seconds by the run's own phases (training, solving, calibrating, evaluating)."""

    def details(self) -> dict[str, Any]:
        """As it is published."""
        return {
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_memory_mib": round(self.peak_mib),
            "seconds_by_phase": self.phases,
        }


def measure(plan: Plan, out: Path | None = None) -> Measured:
    """Run a plan into `out` (or nowhere that lasts) and time it; raises where a cell did not finish."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        restart_peak()
        start, cpu_start = time.perf_counter(), time.process_time()
        outcome = run(plan, out or Path(folder), clock)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        cells = read_cells(outcome.folder)
        if set(cells.status) != {"finished"}:
            raise RuntimeError(f"a benchmark's cells must finish: {cells[['layers', 'probe', 'status', 'error']]}")
        return Measured(seconds, cpu_seconds, peak_mib(), _phases(cells, clock.seconds, seconds), dict(clock.seconds))


def warm_up(job: Job, probes: tuple[Any, ...] = RIDGE, **changes: Any) -> None:
    """The same probes on a few images and small layers, so that imports, kernels and generated files are there."""
    plan = plan_for(replace(job, layers=WARM_LAYERS), probes, **changes)
    measure(replace(plan, reader=Cut(plan.reader, WARM_UP, 2)))


def _phases(cells: Any, spans: dict[str, float], total: float) -> dict[str, float]:
    """The columns of a shared pass are the same in all its cells.

    The rest is reading the dataset and loading weights before the passes, intervals, paired tests and files after.
    """

    def column(name: str, shared: bool) -> float:
        key = f"time_{name}_s"
        if key not in cells:
            return 0.0
        return float(cells[key].max() if shared else cells[key].sum())

    decode, forward, cache = (
        column(f"train_{name}", True) + column(f"test_{name}", True) for name in ("decode", "forward", "cache")
    )
    fit = column("fit", False)
    scoring = spans.get("evaluating", 0.0) - column("test_decode", True) - column("test_forward", True)
    network = column("train_decode", True) + column("train_forward", True) + column("train_cache", True)
    calibrating = spans.get("training", 0.0) + spans.get("calibrating", 0.0) - network - fit
    found = {
        "decode": decode,
        "forward": forward,
        "cache": cache,
        "fit": fit,
        "solve": spans.get("solving", 0.0),
        "calibrate": max(0.0, calibrating),
        "score": max(0.0, scoring),
    }
    return {**found, "read_and_write": max(0.0, total - sum(found.values()))}
