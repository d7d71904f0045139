"""A small world for checks: images of two sizes, two layers of features, gaze that the features predict.

The real stream cuts it into batches and the real classroom trains on it; only the features come from a generator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness._probe import Probe
from harness.cells import Cell
from harness.data.dataset import Dataset, Split
from harness.progress import Silent
from harness.readout import Readout
from harness.snapshots import Snapshots
from harness.stream import Stream, StreamSettings
from harness.testing._checks import FailedError
from harness.training import Classroom
from harness.training_state import TrainingState
from harness.types import Batch, LayerSpec, Size

Kind = Literal["usual", "constant", "dead"]
LAYERS = (LayerSpec("fine", 6, 8), LayerSpec("coarse", 9, 16))
SIZES: tuple[Size, ...] = ((48, 64), (64, 48))
CELL = 8
"""Pixels of a cell of the fitting grid."""
IMAGES = {"train": 24, "test": 6}
FIRST_ID = {"train": 1, "test": 1001}
POINTS = 30
CPU = torch.device("cpu")


def synthetic_dataset(split: Split) -> Dataset:
    """Images that exist as numbers only: nothing may open their files."""
    n, first = IMAGES[split], FIRST_ID[split]
    sizes = [SIZES[i % 2] for i in range(n)]
    points = [_gaze(first + i, size) for i, size in enumerate(sizes)]
    return Dataset(
        name="synthetic",
        split=split,
        edition="kit",
        points_kind="simulated",
        ids=np.arange(first, first + n, dtype=np.int64),
        files=tuple(Path(f"{split}{i}.png") for i in range(n)),
        height=np.array([size[0] for size in sizes], np.int32),
        width=np.array([size[1] for size in sizes], np.int32),
        offset=np.arange(n + 1, dtype=np.int64) * POINTS,
        row=np.concatenate([one[0] for one in points]).astype(np.int32),
        col=np.concatenate([one[1] for one in points]).astype(np.int32),
        observer=np.tile(np.arange(POINTS) % 5, n).astype(np.int32),
        synthetic=True,
        image_sha256=tuple(f"{split}{i}" for i in range(n)),
    )


def _gaze(image: int, size: Size) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    """Drawn from the cells by the first channel of the finer layer."""
    rng = np.random.default_rng([2, image])
    chance = np.exp(2 * features_of(image, size, "usual")["fine"][0].double().flatten().numpy())
    cells = rng.choice(len(chance), POINTS, p=chance / chance.sum())
    columns = size[1] // CELL
    inside = rng.integers(0, CELL, (2, POINTS))
    return cells // columns * CELL + inside[0], cells % columns * CELL + inside[1]


def features_of(image: int, size: Size, kind: Kind) -> dict[str, Tensor]:
    """Of one image. "constant": one channel of the finer layer has one value everywhere, "dead": the coarser is 0."""
    rng = np.random.default_rng([1, image])
    found = {
        layer.name: torch.from_numpy(
            rng.normal(1.0, 1.0, (layer.channels, size[0] // layer.stride, size[1] // layer.stride))
        ).float()
        for layer in LAYERS
    }
    if kind == "constant":
        found["fine"][1] = 3.7
        found["coarse"][0] = 1e4
    if kind == "dead":
        found["coarse"].zero_()
        found["fine"][2] = 0.0
    return found


class StoppedError(Exception):
    """The images end in the middle of a pass."""


@dataclass
class SyntheticStream(Stream):
    """Batches with features from numbers; notes what a consumer changed in a batch that it was given."""

    kind: Kind = "usual"
    backwards: bool = False
    stop_after: int | None = None
    """So many batches, whatever their pass, and then StoppedError."""
    changed: list[str] = field(default_factory=list)

    def batches(self, epoch: int | None = None, rows: Sequence[int] | None = None, after: int = -1) -> Iterator[Batch]:
        """As the stream cuts and orders them, or the other way round."""
        plan = list(super().batches(epoch, rows, after))
        for batch in reversed(plan) if self.backwards else plan:
            if self.stop_after is not None:
                if not self.stop_after:
                    raise StoppedError
                self.stop_after -= 1
            given, copy = self._with_features(batch), self._with_features(batch)
            yield given
            self.changed += [what for what in _changes(copy, given) if what not in self.changed]

    def _with_features(self, batch: Batch) -> Batch:
        per_image = [features_of(id_, batch.size, self.kind) for id_ in batch.ids]
        stacked = {layer.name: torch.stack([one[layer.name] for one in per_image]) for layer in LAYERS}
        points = tuple(type(p)(p.row.copy(), p.col.copy(), p.observer.copy()) for p in batch.points)
        return replace(batch, features={n: x.to(self.device) for n, x in stacked.items()}, points=points)


def _changes(before: Batch, after: Batch) -> list[str]:
    """What is no longer as it was."""
    found = [f"features of {n}" for n, x in before.features.items() if not torch.equal(x, after.features[n])]
    pairs = zip(before.points, after.points, strict=True)
    same = all(np.array_equal(a.row, b.row) and np.array_equal(a.col, b.col) for a, b in pairs)
    return found if same else [*found, "points"]


def stream(
    split: Split = "train",
    *,
    kind: Kind = "usual",
    batch_size: int = 4,
    backwards: bool = False,
    stop_after: int | None = None,
    device: torch.device = CPU,
) -> SyntheticStream:
    """The training or the held-out images."""
    settings = StreamSettings(grid=CELL, folds=3, batch_size=batch_size)
    how = {"kind": kind, "backwards": backwards, "stop_after": stop_after}
    return SyntheticStream(synthetic_dataset(split), settings, device, layers=LAYERS, **how)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Trained:
    """What came of training a probe."""

    readout: Readout
    passes: int
    changed: tuple[str, ...]
    """What it changed in the batches it was given."""


def train(probe: Probe, images: SyntheticStream, snapshots: Snapshots | None = None) -> Trained:
    """Train one cell as a run does, from `snapshots` on if there are any; raises FailedError with the cell's error."""
    reads = LAYERS if probe.reads == "layers" else ()
    cell = Cell("synthetic", "kit", "none", "all", reads, probe.label, probe, seed=0)
    classroom = Classroom({"0123456789abcdef": cell}, images)
    state = TrainingState(classroom, snapshots)
    state.restore()
    (student,) = classroom.teach(Silent(), state)
    if student.error is not None or student.readout is None:
        raise FailedError(f"training failed: {student.error or 'there is no readout'}")
    return Trained(student.readout, classroom.passes, tuple(images.changed))


@torch.inference_mode()
def maps_of(readout: Readout, images: SyntheticStream) -> dict[int, Tensor]:
    """The readout's map of every image of a stream, on the CPU."""
    found: dict[int, Tensor] = {}
    for batch in images.batches():
        found |= dict(zip(batch.ids, readout(batch).float().cpu(), strict=True))
    return found


def joined(maps: dict[int, Tensor]) -> Tensor:
    """All maps in one row, by image id."""
    return torch.cat([maps[id_].flatten() for id_ in sorted(maps)])
