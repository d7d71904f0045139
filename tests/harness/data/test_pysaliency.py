"""pysaliency's own objects and files; without pysaliency the objects are stood for by their public columns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.data._splitting import Splitting
from harness.data.dataset import Dataset
from harness.data.pysaliency import Pysaliency, dataset_of
from harness.errors import DataError
from tests.harness.data.roots import SIZE, save_jpeg

READER = Pysaliency(split=Splitting(test=1.0))
ROWS = {"x": [0.0, 3.7, 25.0, 5.0], "y": [0.0, 4.2, 1.0, 6.0], "n": [1, 0, 0, 0], "subject": [4, 4, 4, 2]}


def check(dataset: Dataset) -> None:
    assert dataset.ids.tolist() == [1, 2]
    points = [dataset.points(i) for i in (0, 1)]
    assert [(p.row.tolist(), p.col.tolist(), p.observer.tolist()) for p in points] == [
        ([6, 4], [5, 3], [0, 1]),
        ([0], [0], [1]),
    ]
    assert (dataset.dropped, dataset.observer_labels, dataset.sizes) == (1, (2, 4), (SIZE,))


def columns(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: np.array(values) for name, values in (ROWS | changes).items()})


def files(root: Path) -> list[str]:
    for name in ("p.jpg", "q.jpg"):
        save_jpeg(root / name)
    return [str(root / "p.jpg"), str(root / "q.jpg")]


class InFiles:
    """What is read of a FileStimuli."""

    def __init__(self, filenames: list[str]) -> None:
        self.filenames = filenames

    def __len__(self) -> int:
        return len(self.filenames)


def test_columns(tmp_path: Path) -> None:
    check(dataset_of(InFiles(files(tmp_path)), columns(), "test", READER))


def test_without_subjects_everybody_is_one_observer(tmp_path: Path) -> None:
    given = columns()
    del given.subject
    dataset = dataset_of(InFiles(files(tmp_path)), given, "test", READER)
    assert dataset.observer_labels == ("everybody",)


def test_fixations_of_other_stimuli_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fixations are on stimulus 2, but there are 2 stimuli"):
        dataset_of(InFiles(files(tmp_path)), columns(n=[0, 1, 2, 0]), "test", READER)


def test_pysaliency_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pysaliency = pytest.importorskip("pysaliency")
    monkeypatch.setenv("SALPROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(np, "string_", np.bytes_, raising=False)  # 0.2.22 writes by a name that NumPy 2 has dropped
    trains = pysaliency.FixationTrains.from_fixation_trains(
        [[0.0], [3.7, 25.0], [5.0]], [[0.0], [4.2, 1.0], [6.0]], [[0], [0, 1], [0]], [1, 0, 0], [4, 4, 2]
    )
    in_files = pysaliency.FileStimuli(files(tmp_path))
    in_memory = pysaliency.Stimuli([np.asarray(in_files.stimuli[i]) for i in range(2)])
    for name, stimuli in (("files", in_files), ("memory", in_memory)):
        check(dataset_of(stimuli, trains, "test", READER))
        root = tmp_path / name
        root.mkdir()
        stimuli.to_hdf5(str(root / "stimuli.hdf5"))
        trains.to_hdf5(str(root / "fixations.hdf5"))
        check(Pysaliency(root=str(root), split=Splitting(test=1.0)).read("test"))


def test_without_pysaliency_its_files_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pysaliency", None)
    for name in ("stimuli.hdf5", "fixations.hdf5"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"pip install 'salience-probe\[pysaliency\]'"):
        Pysaliency(root=str(tmp_path)).read("test")
