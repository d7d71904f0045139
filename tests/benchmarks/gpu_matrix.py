"""A whole matrix on a device, without files: ridge and SGD on every layer set, baselines, calibration, scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from harness._backbone import LoadedBackbone
from harness._probe import Probe
from harness.calibration import calibrate
from harness.cells import NO_BACKBONE, Cell
from harness.data.dataset import Dataset, Split
from harness.evaluation import Scores, evaluate
from harness.feature_cache import FeatureCache, Precision, feature_bytes, itemsize, plan_tiers
from harness.metrics.auc import METRIC as AUC
from harness.metrics.auc_judd import METRIC as AUC_JUDD
from harness.metrics.cc import METRIC as CC
from harness.metrics.ig import METRIC as IG
from harness.metrics.kld import METRIC as KLD
from harness.metrics.nss import METRIC as NSS
from harness.metrics.sauc import METRIC as SAUC
from harness.metrics.sim import METRIC as SIM
from harness.readout import Readout
from harness.stream import Stream
from harness.student import Student
from harness.training import Classroom
from harness.types import LayerSpec
from harness.units import GIB
from probes.centre import Centre
from probes.ridge import Ridge
from probes.sgd import SGD
from probes.uniform import Uniform
from tests.benchmarks.gpu_card import device_peak_gib, now, restart_device_peak
from tests.benchmarks.gpu_forward import BACKBONE, Setup
from tests.benchmarks.machine import peak_mib, restart_peak

EIGHT = (CC, SIM, KLD, NSS, AUC, AUC_JUDD, SAUC, IG)


@dataclass(frozen=True)
class Work:
    """What is to be run, and with what room."""

    train: Dataset
    test: Dataset
    setup: Setup
    probes: tuple[Probe, ...]
    budget_gib: float = 0.0
    """For features between passes; 0: the network runs in every pass."""
    kept_as: Precision = "bf16"
    known: Mapping[Split, FeatureCache] = field(default_factory=dict)
    """Features that are there already: the network is not run for these splits."""


@dataclass
class Ran:
    """A matrix that was run."""

    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Scores] = field(default_factory=dict)
    readouts: dict[str, Readout] = field(default_factory=dict)
    cache: str = "none"
    memory: dict[str, float] = field(default_factory=dict)

    def means(self) -> dict[str, dict[str, float]]:
        """Every cell's metrics."""
        return {label: scores.means(EIGHT) for label, scores in self.scores.items()}

    def details(self) -> dict[str, Any]:
        """As it is published."""
        return {
            "cells": len(self.scores),
            "seconds": self.seconds,
            "seconds_by_phase": self.phases,
            "feature_cache": self.cache,
            **self.memory,
        }


def probes(epochs: int) -> tuple[Probe, ...]:
    """Ridge with 9 alphas x 5 folds, SGD with two losses, the baselines."""
    return Ridge(), SGD(loss="mse", epochs=epochs), SGD(loss="kl", epochs=epochs), Centre(), Uniform()


def run_matrix(work: Work, backbone: LoadedBackbone) -> Ran:
    """Train, calibrate and score every cell; raises RuntimeError naming the cells that failed."""
    device = work.setup.device
    restart_device_peak(device)
    restart_peak()
    ran, spent = Ran(), Spent(device)
    start = now(device)
    _run_group(work, ran, spent, None)
    _run_group(work, ran, spent, backbone)
    ran.seconds = now(device) - start
    ran.phases = {**spent.seconds, "other": ran.seconds - sum(spent.seconds.values())}
    ran.memory = {**device_peak_gib(device), "host_peak_mib": round(peak_mib())}
    return ran


class Spent:
    """Seconds by phase, none counted twice; says on a line what has been done. Stands where a run's progress does."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.spans: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str, total: int, unit: str = "images") -> Iterator[Spent]:
        """Time a phase of the run."""
        start = now(self.device)
        yield self
        taken = now(self.device) - start
        self.spans[name.partition(",")[0].split(" ")[0]] += taken
        print(f"    {name}: {total} {unit} in {taken:.1f} s", flush=True)

    def advance(self, n: int) -> None:
        """Nothing is drawn."""

    def say(self, message: str) -> None:
        """Print it."""
        print(f"    {message}", flush=True)

    def add(self, phases: Mapping[str, float], *names: str) -> float:
        """Count these phases of a stopwatch; returns their sum."""
        for name in names:
            self.seconds[name] += phases.get(name, 0.0)
        return sum(phases.get(name, 0.0) for name in names)


def _run_group(work: Work, ran: Ran, spent: Spent, backbone: LoadedBackbone | None) -> None:
    """The cells that read layers of the backbone, or without one those that read gaze only."""
    layers = work.setup.layers if backbone is not None else ()
    cells = _cells(work.probes, layers)
    cache = _cache(work) if backbone is not None and work.budget_gib else work.known.get("train")
    settings, device = work.setup.settings, work.setup.device
    training = Stream(work.train, settings, device, backbone, layers, cache, work.kept_as)
    testing = Stream(work.test, settings, device, backbone, layers, work.known.get("test"))
    before = dict(spent.spans)
    students = Classroom(cells, training).teach(spent)
    readouts = {s.key: s.readout for s in students if s.readout is not None}
    calibrations = calibrate(readouts, training, spent)
    if cache is not None and not work.known:
        held = {tier: size for tier, size in cache.held().items() if size}
        ran.cache = ", ".join(f"{size / GIB:.1f} GiB on {tier}" for tier, size in held.items()) or "none"
        cache.discard()
    scores = evaluate(readouts, testing, EIGHT, spent, calibrations=calibrations)
    _refuse_failures(students, scores)
    _count(spent, before, training, testing, students, scores)
    for key, cell in cells.items():
        label = f"{cell.layer_set} {cell.probe_label}" if cell.layers else cell.probe_label
        ran.scores[label], ran.readouts[label] = scores[key], readouts[key]


def _cells(probes: tuple[Probe, ...], layers: tuple[LayerSpec, ...]) -> dict[str, Cell]:
    """Every layer alone and all together; without layers the cells that read gaze."""

    def cell(name: str, layers: tuple[LayerSpec, ...], probe: Probe) -> Cell:
        backbone = BACKBONE.label if layers else NO_BACKBONE
        return Cell("stand-in", backbone, BACKBONE.weights, name, layers, probe.label, probe, seed=0)

    if layers:
        sets = {**{layer.name: (layer,) for layer in layers}, "all": layers}
        found = [cell(name, of, probe) for probe in probes if probe.reads == "layers" for name, of in sets.items()]
    else:
        found = [cell(NO_BACKBONE, (), probe) for probe in probes if probe.reads == "gaze"]
    return {f"{index:016x}": one for index, one in enumerate(found)}


def _cache(work: Work) -> FeatureCache | None:
    """On the device and the host, as far as the budget goes."""
    size, setup = work.train.size(0), work.setup
    input_size, grid = setup.settings.input_for(size), setup.settings.grid_for(size)
    wanted = len(work.train) * feature_bytes(setup.layers, input_size, grid, itemsize(work.kept_as))
    placement = plan_tiers(wanted, int(work.budget_gib * GIB), setup.device, ("device", "host"))
    if placement is None:
        print(f"    features of {wanted / GIB:.1f} GiB do not fit: the network runs in every pass", flush=True)
        return None
    sizes = {row: work.train.size(row) for row in range(len(work.train))}
    return FeatureCache(sizes, placement, work.kept_as, setup.device)


def _refuse_failures(students: list[Student], scores: Mapping[str, Scores]) -> None:
    failed = [f"{s.cell.label}: {s.error}" for s in students if s.error is not None]
    failed += [f"{key}: {found.error}" for key, found in scores.items() if found.error is not None]
    if failed:
        raise RuntimeError("a benchmark's cells must finish; " + "; ".join(failed))


def _count(
    spent: Spent,
    before: Mapping[str, float],
    training: Stream,
    testing: Stream,
    students: list[Student],
    scores: Mapping[str, Scores],
) -> None:
    """What each phase of this group took. Batches also flow while densities are calibrated."""
    span = {name: spent.spans[name] - before.get(name, 0.0) for name in ("training", "calibrating", "solving")}
    streamed = spent.add(training.watch.seconds, "decode", "forward", "cache")
    spent.add(testing.watch.seconds, "decode", "forward")
    fit = sum(student.watch.seconds["fit"] for student in students)
    spent.seconds["fit"] += fit
    spent.seconds["solve"] += span["solving"]
    spent.seconds["calibrate"] += max(0.0, span["training"] + span["calibrating"] - streamed - fit)
    for found in scores.values():
        spent.add(found.watch.seconds, "predict", "score")
