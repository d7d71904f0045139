"""Whether a device computes what the CPU computes: features, statistics, scores, metrics, pictures, kept features."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

import torch
from torch import Tensor

from harness.data.dataset import Dataset
from harness.data.images import read_image
from harness.decoding import Decoder
from harness.feature_cache import FeatureCache, Placement
from harness.order import Place
from harness.stream import Stream
from harness.types import Batch
from harness.units import GIB
from probes.centre import Centre
from probes.ridge import Ridge
from tests.benchmarks.gpu_card import synchronise
from tests.benchmarks.gpu_forward import Setup
from tests.benchmarks.gpu_maps import differences_from_cpu, inputs
from tests.benchmarks.gpu_matrix import Ran, Work, run_matrix

CPU = torch.device("cpu")
ALPHA = 1.0
"""One, because between two that fit as well a rounding decides; large, because a few images leave weights free."""
TRAIN, TEST = 16, 8


@dataclass(frozen=True)
class Check:
    """One difference and what it may be at most."""

    name: str
    difference: float
    tolerance: float
    remark: str = ""

    @property
    def fine(self) -> bool:
        """Whether it is small enough; nan is not."""
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok  " if self.fine else "FAIL"
        return f"{verdict} {self.name}: {self.difference:.3g} (at most {self.tolerance:g}) {self.remark}".rstrip()


def checks(train: Dataset, test: Dataset, setup: Setup) -> Iterator[Check]:
    """All checks, one after the other; the network runs in float32 on both sides."""
    train, test = train.take(range(min(TRAIN, len(train)))), test.take(range(min(TEST, len(test))))
    exact = replace(setup, settings=replace(setup.settings, precision="fp32", workers=0, compile=False))
    yield from metric_checks(train.size(0), setup.device)
    yield from gaze_checks(train, exact)
    yield from decoding_checks(train, exact.device)
    yield from matrix_checks(train, test, exact)
    yield cache_check(train, exact)
    if setup.device.type == "cuda":
        yield memory_check(train, exact)


def metric_checks(size: tuple[int, int], device: torch.device) -> Iterator[Check]:
    """Each of the eight on the same maps."""
    for name, difference in differences_from_cpu(inputs(8, size, 300, 3000), device).items():
        yield Check(f"metric {name}", difference, 1e-4)


def gaze_checks(train: Dataset, setup: Setup) -> Iterator[Check]:
    """Counts, densities and targets of one batch."""
    here, there = (next(iter(Stream(train, setup.settings, place).batches())) for place in (CPU, setup.device))
    yield Check("fixation counts", _apart(here.fixations.values, there.fixations.values), 0)
    yield Check("density", _apart(here.density.values, there.density.values), 1e-5)
    yield Check("target on the fitting grid", _apart(here.target(), there.target()), 1e-4)
    yield Check("target on the centre's raster", _apart(here.target((120, 160)), there.target((120, 160))), 1e-4)


def decoding_checks(train: Dataset, device: torch.device) -> Iterator[Check]:
    """The device's decoder against Pillow, in grey levels of 255."""
    size = train.size(0)
    decoder = Decoder(train, {size: size}, device, workers=0)
    (decoded,) = decoder.batches([[Place(i, i) for i in range(len(train))]])
    assert isinstance(decoded.pixels, Tensor)
    expected = torch.stack([read_image(train.files[i], int(train.ids[i])) for i in range(len(train))]).float()
    apart = (decoded.pixels.cpu().float() - expected).abs()
    by = "decoded by the GPU" if decoder.on_gpu else "decoded by the CPU"
    yield Check("decoding, mean grey levels", apart.mean().item(), 2.0, f"{by}, largest {apart.max().item():g}")
    yield Check("decoding, images lost", len(train) - len(decoded.places), 0)


def matrix_checks(train: Dataset, test: Dataset, setup: Setup) -> Iterator[Check]:
    """Features, then readouts from the very same features, then the whole road on each device."""
    on_cpu = replace(setup, device=CPU)
    here, there = (
        Work(train, test, one, (Ridge(alphas=(ALPHA,)), Centre()), kept_as="fp32") for one in (on_cpu, setup)
    )
    known = {split.split: _features(split, on_cpu) for split in (train, test)}
    held_out = list(on_cpu.stream(test, on_cpu.load()).batches())
    yield from _feature_checks(known["train"], _features(train, setup))
    expected = _ran(here)
    carried = {split.split: _carried(split, known[split.split], setup.device) for split in (train, test)}
    same = _ran(replace(there, known=carried))
    yield from _readout_checks(expected, same, held_out)
    yield _score_check("mean scores from the same features", expected, same, 1e-3)
    yield _score_check("mean scores of the whole road", expected, _ran(there), 0.05)


def _ran(work: Work) -> Ran:
    return run_matrix(work, work.setup.load())


def _feature_checks(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[Check]:
    for name, x in expected.items():
        apart = (x - found[name].cpu()).abs().mean().item() / x.std().item()
        yield Check(f"features {name}", apart, 0.05, "on average, over the layer's deviation; decoding is part of it")


def _features(dataset: Dataset, setup: Setup) -> dict[str, Tensor]:
    """Of a whole split, image after image."""
    batches = [batch.features for batch in setup.stream(dataset, setup.load()).batches()]
    return {layer.name: torch.cat([features[layer.name] for features in batches]) for layer in setup.layers}


def _carried(split: Dataset, features: Mapping[str, Tensor], device: torch.device) -> FeatureCache:
    """A split's features, kept on another device."""
    cache = FeatureCache({row: split.size(row) for row in range(len(split))}, _room(device), "fp32", device)
    cache.put(range(len(split)), {name: x.to(device) for name, x in features.items()})
    cache.close()
    return cache


def _room(device: torch.device) -> Placement:
    return Placement(device=GIB) if device.type == "cuda" else Placement(host=GIB)


def _readout_checks(expected: Ran, found: Ran, batches: Sequence[Batch]) -> Iterator[Check]:
    """Weights by the maps they make: of a channel that hardly varies a weight may be anything."""
    for label, readout in expected.readouts.items():
        a, b = (torch.cat([one.to(CPU)(batch) for batch in batches]) for one in (readout, found.readouts[label]))
        apart = ((a - b).norm() / (a - a.mean()).norm()).item()
        yield Check(f"maps of {label}", apart, 1e-3, "from the same features, over the maps' deviation")


def _score_check(name: str, expected: Ran, found: Ran, tolerance: float) -> Check:
    """The largest difference of a mean score; of a score above 1 in its own size."""
    worst, where = 0.0, ""
    for label, scores in expected.means().items():
        for metric, value in scores.items():
            other = found.means()[label][metric]
            apart = 0.0 if isnan(value) and isnan(other) else abs(value - other) / max(1.0, abs(value))
            if not apart <= worst:
                worst, where = apart, f"{metric} of {label}"
    return Check(name, worst, tolerance, where)


def cache_check(train: Dataset, setup: Setup) -> Check:
    """A second pass, from features kept in bf16, brings exactly what the first brought."""
    sizes = {row: train.size(row) for row in range(len(train))}
    cache = FeatureCache(sizes, _room(setup.device), "bf16", setup.device)
    stream = replace(setup.stream(train, setup.load()), cache=cache, rounding="bf16")
    first, second = (_per_image(stream.batches(epoch)) for epoch in (0, 1))
    tiers = ", ".join(tier for tier, size in cache.held().items() if size)
    complete = cache.complete
    cache.discard()
    apart = max(_apart(first[i][name], second[i][name]) for i in first for name in first[i])
    return Check("features kept in bf16", apart if complete else torch.inf, 0, f"on {tiers}")


def _per_image(batches: Iterator[Batch]) -> dict[int, dict[str, Tensor]]:
    return {
        image: {name: x[i].clone() for name, x in batch.features.items()}
        for batch in batches
        for i, image in enumerate(batch.ids)
    }


def memory_check(train: Dataset, setup: Setup) -> Check:
    """With half of the memory that a batch needs the stream goes on in smaller parts and brings the same features."""
    device, backbone = setup.device, setup.load()
    at_once = replace(setup, settings=replace(setup.settings, batch_size=len(train), grid=train.size(0)[0] // 4))

    def run() -> dict[int, dict[str, Tensor]]:
        return _per_image(at_once.stream(train, backbone).batches())

    run()
    needed = _memory_of(run, device)
    expected = {image: {n: x.cpu() for n, x in layers.items()} for image, layers in run().items()}
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    said = _Said()
    logging.getLogger("salprobe").addHandler(said)
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated(device) + needed / 2) / total, device)
    try:
        found = run()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        logging.getLogger("salprobe").removeHandler(said)
    spread = {name: x.std().item() for name, x in expected[int(train.ids[0])].items()}
    apart = max((expected[i][n] - found[i][n].cpu()).abs().mean().item() / spread[n] for i in expected for n in spread)
    halved = [line for line in said.lines if "out of memory" in line]
    return Check("features after running out of memory", apart if halved else torch.inf, 0.02, "; ".join(halved))


def _memory_of(work: Callable[[], object], device: torch.device) -> int:
    """What a piece of work takes beside what is held already, at its peak."""
    synchronise(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    synchronise(device)
    return torch.cuda.max_memory_allocated(device) - before


class _Said(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(record.getMessage())


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, absolute."""
    return (a.cpu().double() - b.cpu().double()).abs().max().item()


def failures(found: Sequence[Check]) -> list[Check]:
    """Those that are not fine."""
    return [check for check in found if not check.fine]
