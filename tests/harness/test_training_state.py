"""Training that is stopped anywhere and gone on with is, to the last bit, training that was not stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from harness._probe import PROBES, Context, Probe, Trainer
from harness.cells import Cell
from harness.data.dataset import Skipped
from harness.evaluation import Scores, evaluate
from harness.metric_registry import METRICS
from harness.moments import Moments
from harness.plan import build
from harness.progress import Silent
from harness.readout import LinearReadout, Readout
from harness.recipe import Entry
from harness.scoring_state import ScoringState, keep_students, kept_students
from harness.snapshots import Snapshots
from harness.student import Student
from harness.testing._synthetic import LAYERS, StoppedError, SyntheticStream, stream
from harness.training import Classroom
from harness.training_state import TrainingState, cells_in
from harness.types import Batch
from harness.unfinished import unfinished_parts

ENTRIES: list[dict[str, Any]] = [
    {"name": "ridge"},
    {"name": "ridge", "centre": 0.5},
    {"name": "smoothed", "position": True},
    {"name": "pooled", "raster": [2, 3]},
    {"name": "sgd", "epochs": 3, "images_per_step": 5},
    {"name": "sgd", "loss": "kl", "epochs": 2, "optimiser": "sgd", "weight_decay": 0.1},
    {"name": "pooled", "solver": "sgd", "epochs": 2, "raster": [2, 3]},
    {"name": "centre"},
]
FACTS = {"cells": ["of this test"]}


class Forgetful(Probe):
    """Its trainer has neither sums nor a state."""

    def trainer(self, context: Context) -> Trainer:
        return ForgetfulTrainer()


class ForgetfulTrainer(Trainer):
    def update(self, batch: Batch) -> None:
        pass

    def readout(self) -> Readout:
        return LinearReadout({"fine": torch.ones(6)}, 0.0)


def cells(*probes: Probe) -> dict[str, Cell]:
    built = [build(PROBES, Entry(**entry), "probe") for entry in ENTRIES]
    return {
        f"{i:016x}": Cell("synthetic", "kit", "none", "all", LAYERS, probe.label, probe, 0)
        for i, probe in enumerate([*built, *probes])
    }


def taught(images: SyntheticStream, work: Snapshots | None = None, *probes: Probe) -> list[Student]:
    room = Classroom(cells(*probes), images)
    state = TrainingState(room, work)
    state.restore()
    return room.teach(Silent(), state)


def assert_equal(students: Sequence[Student], others: Sequence[Student]) -> None:
    for student, other in zip(students, others, strict=True):
        assert student.readout is not None
        assert other.readout is not None
        (tensors, settings), (theirs, their_settings) = student.readout.state(), other.readout.state()
        assert settings == their_settings
        assert student.readout.info == other.readout.info
        assert tensors.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in tensors.items())


@pytest.mark.parametrize("stops", [[0], [3], [7, 1], [9, 2, 4], [26]])
def test_stopped_and_gone_on_with(tmp_path: Path, stops: list[int]) -> None:
    """So many batches after each start; a pass has about seven."""
    work = Snapshots(tmp_path, FACTS, every_s=0)
    for stop in stops:
        with suppress(StoppedError):
            taught(stream(stop_after=stop), work)
    assert_equal(taught(stream(), work), taught(stream()))
    assert not list(tmp_path.rglob("*-any.*"))  # parts of passes that are over


def test_what_is_not_due_is_not_saved(tmp_path: Path) -> None:
    work = Snapshots(tmp_path, FACTS, every_s=3600)
    with suppress(StoppedError):
        taught(stream(stop_after=3), work)
    assert work.names() == set()


def test_a_cell_without_a_state_begins_anew_alone(tmp_path: Path) -> None:
    asked = cells(Forgetful())
    work = Snapshots(tmp_path, {"cells": list(asked)}, every_s=0)
    with suppress(StoppedError):
        taught(stream(stop_after=3), work, Forgetful())
    assert cells_in(work) == list(asked)[:-1]
    said: list[str] = []
    (going_on, its_work), (anew, other) = unfinished_parts(tmp_path, {}, asked, 0, said.append)
    assert list(going_on) == list(asked)[:-1]
    assert list(anew) == list(asked)[-1:]
    assert its_work.folder == work.folder != other.folder
    assert said == [f"going on with {len(ENTRIES)} cells that an earlier run had begun"]


def test_a_state_of_other_circumstances_is_ignored_with_a_word(tmp_path: Path) -> None:
    asked = cells()
    work = Snapshots(tmp_path, {"cells": list(asked), "batch_size": 4}, every_s=0)
    with suppress(StoppedError):
        taught(stream(stop_after=3), work)
    said: list[str] = []
    ((part, other),) = unfinished_parts(tmp_path, {"batch_size": 8}, asked, 0, said.append)
    assert part == asked
    assert other.folder != work.folder
    assert "batch_size was 4, is 8" in said[0]
    fewer = dict(list(asked.items())[1:])
    ((part, _),) = unfinished_parts(tmp_path, {"batch_size": 4}, fewer, 0, said.append)
    assert part == fewer
    assert "1 cells that are not asked for" in said[1]
    (path,) = work.folder.glob("pass-0-any.*")
    path.write_bytes(path.read_bytes()[:1000])
    ((part, _),) = unfinished_parts(tmp_path, {"batch_size": 4}, asked, 0, said.append)
    assert part == asked
    assert len(said) == 2


def test_of_two_states_with_a_cell_in_common_one_is_gone_on_with(tmp_path: Path) -> None:
    """A pass feeds all its cells: fewer would take its sums for those of other targets."""
    a, b, c = list(cells().items())[:3]
    for pair in ([a, b], [b, c]):
        keys = [key for key, _ in pair]
        work = Snapshots(tmp_path, {"cells": keys}, every_s=0)
        room = Classroom(dict(pair), stream(stop_after=3))
        with suppress(StoppedError):
            room.teach(Silent(), TrainingState(room, work))
        assert cells_in(work) == keys
    (both, _), (alone, work) = unfinished_parts(tmp_path, {}, dict([a, b, c]), 0, lambda _: None)
    assert list(both) in ([a[0], b[0]], [b[0], c[0]])
    assert len(alone) == 1
    assert work.names() == set()


def test_moments_of_other_targets_are_refused() -> None:
    one, other = Moments(2), Moments(2)
    for target in ("density", "root"):
        one.need(LAYERS, target)
    other.need(LAYERS, "root")
    with pytest.raises(ValueError, match="moments of density, root cannot go on as of root"):
        other.restore(one.state())


def test_a_disk_that_is_full_at_the_end_of_a_pass_loses_nothing_kept_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, write = Snapshots(tmp_path, FACTS, every_s=0), Snapshots.write
    training, full = stream(), {"pass-0-end", "readouts"}

    def tight(self: Snapshots, name: str, content: Mapping[str, Any]) -> bool:
        return name not in full and write(self, name, content)

    monkeypatch.setattr(Snapshots, "write", tight)
    students = taught(training, work)
    assert "pass-0-any" in work.names()
    keep_students(students, training, work)
    assert "pass-0-any" in work.names()
    monkeypatch.undo()
    assert_equal(taught(stream(), work), students)
    keep_students(students, training, work)
    assert work.names() == {"readouts"}


def test_readouts_and_scores_are_gone_on_with(tmp_path: Path) -> None:
    work, metrics = Snapshots(tmp_path, FACTS, every_s=0), [METRICS.get("cc"), METRICS.get("kld")]
    asked, training = cells(), stream()
    training.skipped[3] = Skipped(7, "a.png", "odd")
    students = taught(training, work)
    keep_students(students, training, work)
    assert work.names() == {"readouts"}
    again = stream()
    kept = kept_students(asked, again, work)
    assert kept is not None
    assert_equal(kept, students)
    assert kept_students({**asked, "f" * 16: next(iter(asked.values()))}, stream(), work) is None
    assert again.skipped == training.skipped

    readouts = {student.key: student.readout for student in students if student.readout is not None}
    whole = evaluate(readouts, stream("test", batch_size=1), metrics, Silent(), keep_maps=True)
    with suppress(StoppedError):
        evaluate(readouts, stream("test", batch_size=1, stop_after=4), metrics, Silent(), keep_maps=True,
                 state=ScoringState(work))  # fmt: skip
    rest = stream("test", batch_size=1, stop_after=2)
    found = evaluate(readouts, rest, metrics, Silent(), keep_maps=True, state=ScoringState(work))
    for key, scores in whole.items():
        assert_same_scores(found[key], scores)
    done = evaluate(readouts, stream("test", stop_after=0), metrics, Silent(), state=ScoringState(work))
    assert_same_scores(done[students[0].key], whole[students[0].key])


def assert_same_scores(found: Scores, expected: Scores) -> None:
    assert list(found.per_image) == list(expected.per_image)
    assert found.layer_shares.shares() == expected.layer_shares.shares()
    arrays, others = found.maps.arrays(), expected.maps.arrays()
    assert arrays.keys() == others.keys()
    assert all((array == others[name]).all() for name, array in arrays.items())


def test_a_snapshot_is_replaced_whole_and_a_full_disk_costs_the_snapshot_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    work = Snapshots(tmp_path, FACTS, every_s=0)
    work.write("x", {"a": torch.arange(3), ("k", 1): [1.5, None, "w"]})

    def full(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    work.write("x", {"a": 0})
    assert "could not be saved" in caplog.text
    found = work.read("x")
    assert found["a"].tolist() == [0, 1, 2]
    assert found["k", 1] == [1.5, None, "w"]
    assert not list(work.folder.glob(".*"))
