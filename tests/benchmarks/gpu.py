"""Everything that is published of one accelerator: its own speed, agreement with the CPU, forward pass, whole matrix.

Needs torch, torchvision, numpy and Pillow only, and no installation. From the project's root:

    python -m tests.benchmarks.gpu --out reports/published/gpu.json        # everything, about five minutes
    python -m tests.benchmarks.gpu --only agreement,maps --out ...         # in parts: each adds its entries
    python -m tests.benchmarks.gpu --quick                                 # small, to see that it runs

Exit code 1 where the device and the CPU disagree.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from harness.data.dataset import Dataset
from harness.machine import choose_device
from harness.precision import whole_float32
from harness.stream import StreamSettings
from harness.types import Size
from tests.benchmarks import published
from tests.benchmarks.gpu_agreement import checks, failures
from tests.benchmarks.gpu_card import RATED, matmul_rate
from tests.benchmarks.gpu_forward import (
    BACKBONE,
    Setup,
    flops_an_image,
    layers_named,
    network_only,
    passes,
    tried_kernels,
)
from tests.benchmarks.gpu_maps import inputs, maps_a_second
from tests.benchmarks.gpu_matrix import Work, probes, run_matrix
from tests.benchmarks.gpu_standins import Scene, stand_in, write_scenes
from tests.benchmarks.machine import describe

QUICK = {"images": 192, "epochs": 1, "files": 24, "batch_maps": 16, "rounds": 5}
GOAL_IMAGES, GOAL_SECONDS = 15_000, 120


@dataclass(frozen=True)
class Bench:
    """What was asked for, and the images to do it on."""

    asked: argparse.Namespace
    folder: Path
    device: torch.device

    @property
    def size(self) -> Size:
        """Of every image."""
        return self.asked.height, self.asked.width

    @cached_property
    def setup(self) -> Setup:
        """The stream's settings, with the numbers of a recipe that says nothing."""
        a = self.asked
        settings = StreamSettings(precision=a.precision, batch_size=a.batch_size, workers=a.workers)
        return Setup(settings, self.device, layers_named(a.layers.split(",")))

    @cached_property
    def _scenes(self) -> list[Scene]:
        say(f"drawing {self.asked.files} pictures of {self.size[0]}x{self.size[1]}")
        return write_scenes(self.folder, self.asked.files, self.size)

    @cached_property
    def train(self) -> Dataset:
        """Two thirds of the images."""
        return stand_in("train", self._scenes, self.asked.images * 2 // 3, self.size, self.asked.points)

    @cached_property
    def test(self) -> Dataset:
        """The rest."""
        held_out = self.asked.images - self.asked.images * 2 // 3
        return stand_in("test", self._scenes, held_out, self.size, self.asked.points)

    def entry(self, name: str, value: float, unit: str, goal: str | None, note: str, **details: object) -> Entry:
        """One number as it is published."""
        made = published.entry(f"gpu_{name}", value, unit, goal, describe(), note=note, details=details)
        met = {True: f", goal {goal}: met", False: f", goal {goal}: NOT met", None: ""}[published.reached(value, goal)]
        say(f"gpu_{name} = {made['value']:g} {unit}{met}")
        return made


Entry = published.Entry


def say(line: str) -> None:
    """A line that is seen at once."""
    print(line, flush=True)


def agreement(bench: Bench) -> Iterator[Entry]:
    """How many of the checks against the CPU fail."""
    found = []
    for check in checks(bench.train, bench.test, bench.setup):
        say(f"  {check}")
        found.append(check)
    details = {c.name: {"difference": c.difference, "at most": c.tolerance, "remark": c.remark} for c in found}
    note = "Checks of the device against the CPU that fail: features, ridge weights, scores, metrics, decoding, memory."
    yield bench.entry("disagreements", len(failures(found)), "checks", "<= 0", note, checks=details)


def card(bench: Bench) -> Iterator[Entry]:
    """The card's own rates, and the share of them that the network reaches."""
    rates = {name: matmul_rate(dtype, bench.device) / 1e12 for name, dtype in RATED.items()}
    speed = network_only(bench.train, bench.setup, bench.asked.rounds)
    flops = flops_an_image(bench.train, bench.setup)
    share = speed * flops / 1e12 / rates[bench.asked.precision]
    note = "ResNet-50's operations a second over those of a large matrix product in the same precision on this card."
    details = {"matmul_tflops": rates, "gflop_an_image": flops / 1e9, "network_images_per_s": speed}
    yield bench.entry("share_of_matmul_rate", share, "", None, note, **details)


def forward(bench: Bench) -> Iterator[Entry]:
    """Images a second through the network: on the device already, and decoded."""
    a = bench.asked
    speed = network_only(bench.train, bench.setup, a.rounds)
    some = bench.train.take(range(min(len(bench.train), 3000)))
    with_decoding = passes([some], bench.setup)
    note = "ResNet-50's forward pass, images on the device already; in the details with decoding."
    details = {
        "batch": bench.setup.batch_size(bench.train),
        "precision": a.precision,
        "decoded_bare_images_per_s": len(some) / with_decoding.bare,
        "decoded_stream_images_per_s": len(some) / with_decoding.stream,
        **with_decoding.details(),
    }
    if bench.device.type == "cuda":
        details["images_per_s_by_batch"] = {n: network_only(bench.train, bench.setup, a.rounds, n) for n in (8, 16, 64)}
        with tried_kernels():
            details["images_per_s_with_cudnn_benchmark"] = network_only(bench.train, bench.setup, a.rounds)
    if a.compile:
        compiled = replace(bench.setup, settings=replace(bench.setup.settings, compile=True))
        details["compiled_images_per_s"] = network_only(bench.train, compiled, a.rounds)
    yield bench.entry("forward_images_per_s", speed, "images/s", None, note, **details)


def maps(bench: Bench) -> Iterator[Entry]:
    """Maps a second through the eight metrics."""
    a = bench.asked
    others = a.points * len(bench.test)
    speed, each = maps_a_second(inputs(a.batch_maps, bench.size, a.points, others), bench.device, a.rounds)
    note = "All eight default metrics, the pool of other images' gaze as large as in the matrix; one metric at a time."
    details = {"batch": a.batch_maps, "ms_a_map": each, "points_of_other_images": others}
    yield bench.entry("maps_per_s", speed, "maps/s", ">= 10000", note, **details)


def matrix(bench: Bench) -> Iterator[Entry]:
    """The whole matrix over the forward pass of the same images."""
    a = bench.asked
    alone = passes([bench.train, bench.test], bench.setup)
    say(f"  forward pass alone: {alone.details()}")
    whole = Work(bench.train, bench.test, bench.setup, probes(a.epochs), a.budget_gib, a.kept_as)
    few = [split.take(range(min(len(split), 64))) for split in (bench.train, bench.test)]
    backbone = bench.setup.load()
    say("  warming up")
    run_matrix(replace(whole, train=few[0], test=few[1], probes=probes(1)), backbone)
    say("  the matrix")
    ran = run_matrix(whole, backbone)
    what = (
        f"{len(bench.setup.layers) + 1} layer sets of ResNet-50 (random weights), ridge with 9 alphas x 5 folds, "
        f"SGD with 2 losses x {a.epochs} epochs, centre, uniform; training, calibration, scoring with the 8 default "
        "metrics; no files"
    )
    of = {"training": len(bench.train), "held_out": len(bench.test), "epochs": a.epochs, "precision": a.precision}
    details = {"images": of, **ran.details(), "forward_alone": alone.details()}
    ratio = ran.seconds / alone.seconds
    yield bench.entry("matrix_over_forward", ratio, "times", "<= 1.25", f"{what}; over the forward pass.", **details)
    yield bench.entry("matrix_images_per_s", alone.images / ran.seconds, "images/s", None, f"{what}.", **details)
    if alone.images == GOAL_IMAGES:
        goal = f"<= {GOAL_SECONDS}"
        note = f"{what}; the goal is for one H200-class card."
        yield bench.entry(f"matrix_{GOAL_IMAGES}_s", ran.seconds, "s", goal, note, **details)


PARTS: dict[str, Callable[[Bench], Iterator[Entry]]] = {
    "agreement": agreement,
    "card": card,
    "forward": forward,
    "maps": maps,
    "matrix": matrix,
}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, those of --quick put where nothing else was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {','.join(PARTS)}")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, help="two thirds for training (15000)")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--points", type=int, default=300, help="gaze points an image (300)")
    parser.add_argument("--files", type=int, help="different pictures (300)")
    parser.add_argument("--epochs", type=int, help="of SGD (5)")
    parser.add_argument("--layers", default=",".join(BACKBONE.stages()), help="each alone and all together")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16", help="of the network")
    parser.add_argument("--batch-size", type=int, help="images at once (the stream's own choice)")
    parser.add_argument("--workers", type=int, default=8, help="processes that read files (8)")
    parser.add_argument("--compile", action="store_true", help="the network by torch.compile too")
    parser.add_argument("--budget-gib", type=float, default=64.0, help="for features between passes (64)")
    parser.add_argument("--kept-as", choices=["fp32", "fp16", "bf16"], default="bf16", help="features between passes")
    parser.add_argument("--batch-maps", type=int, help="maps scored at once (64)")
    parser.add_argument("--rounds", type=int, help="of short measurements (30)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON file that takes the entries, beside those it has")
    parser.add_argument("--publish-to", type=Path, help="folder whose benchmarks.json and .md take them too")
    asked = parser.parse_args(given)
    whole = {"images": GOAL_IMAGES, "epochs": 5, "files": 300, "batch_maps": 64, "rounds": 30}
    for name, value in (QUICK if asked.quick else whole).items():
        if getattr(asked, name) is None:
            setattr(asked, name, value)
    unknown = set(asked.only.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(PARTS)}")
    return asked


def keep(asked: argparse.Namespace, entries: Sequence[Entry]) -> None:
    """Write what has been measured so far: a run that is cut off keeps its finished parts."""
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        old = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.is_file() else []
        merged = published.merge(old, entries)
        asked.out.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if asked.publish_to is not None:
        published.write(asked.publish_to, entries)


def main() -> None:
    """Run the parts that were asked for."""
    asked = arguments()
    device = choose_device(asked.device)
    whole_float32()
    say(describe())
    disagreements = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked, Path(folder), device)
        for name in asked.only.split(","):
            say(name)
            entries = list(PARTS[name](bench))
            keep(asked, entries)
            disagreements += sum(one["value"] for one in entries if one["name"] == "gpu_disagreements")
    raise SystemExit(disagreements > 0)


if __name__ == "__main__":
    main()
