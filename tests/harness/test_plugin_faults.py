"""What a plugin that fails costs: its own cells, its own column, with its file and line."""

from __future__ import annotations

import errno
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from harness import registry as registry_module
from harness.blame import blaming
from harness.errors import DataError
from harness.results import read_cells
from tests.harness.test_plugin_files import BACKBONE, METRIC, _forget_plugins, write
from tests.harness.test_run import TINY, go

__all__ = ["_forget_plugins"]


@pytest.fixture
def broken_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry_module.entry_points

    def some(group: str) -> list[EntryPoint]:
        broken = [EntryPoint("lost", "no_such_package:Thing", group)]
        return [*real(group=group), *(broken if group in ("salprobe.probes", "salprobe.backbones") else [])]

    monkeypatch.setattr(registry_module, "entry_points", some)


@pytest.mark.usefixtures("broken_entry_points")
def test_a_broken_plugin_takes_down_its_own_cells_only(tmp_path: Path) -> None:
    outcome, _ = go(
        tmp_path,
        backbones=[*TINY["backbones"], "lost"],
        layers=["layer1", "its_own"],
        probes=["ridge", "lost", "centre"],
    )
    cells = read_cells(outcome.folder)
    by = {(row.backbone, row.layers, row.probe): row for row in cells.itertuples()}
    assert by["resnet50", "layer1", "ridge"].status == "finished"
    assert by["resnet50", "its_own", "ridge"].status == "skipped"
    failed = [("resnet50", "layer1", "lost"), ("lost", "layer1", "ridge"), ("lost", "its_own", "ridge")]
    for key in failed:
        assert by[key].status == "failed"
        assert "'lost' of" in by[key].error
        assert "no_such_package" in by[key].error
    assert outcome.counts["failed"] >= 3
    assert outcome.counts["finished"] == 2
    assert len(set(cells.cell_key)) == len(cells)


CLUMSY = """
from harness import Probe, Trainer, probe, LinearReadout

@probe("clumsy")
class Clumsy(Probe):
    where: str
    def __post_init__(self):
        if self.where == "init": raise RuntimeError("boom")
    @property
    def label(self):
        if self.where == "label": raise RuntimeError("boom")
        return "clumsy-" + self.where
    def passes(self):
        if self.where == "passes": raise RuntimeError("boom")
        return 1
    def skip(self, layers):
        if self.where == "skip": raise RuntimeError("boom")
    def trainer(self, context):
        return ClumsyTrainer(self.where)

class ClumsyTrainer(Trainer):
    def __init__(self, where): self.where = where
    def expected_bytes(self):
        if self.where == "bytes": raise RuntimeError("boom")
        return 0
    def readout(self):
        import torch
        info = {"boom": object()} if self.where == "info" else {}
        return LinearReadout({"layer1": torch.ones(256)}, 0.0, info=info)
"""


def test_faults_of_every_kind_stay_in_their_cells(tmp_path: Path) -> None:
    places = ["init", "label", "passes", "skip", "bytes", "info"]
    probes = ["ridge", *({"name": "clumsy", "where": place} for place in places)]
    outcome, _ = go(tmp_path, plugins=write(tmp_path, clumsy=CLUMSY), probes=probes, layers=["layer1"], pictures=0)
    cells = read_cells(outcome.folder)
    assert outcome.counts == {"finished": 2, "failed": 5}
    assert set(cells.probe[cells.status == "finished"]) == {"ridge", "clumsy-bytes"}
    assert all("boom" in error or "plain numbers" in error for error in cells.error.dropna())


def test_a_metric_that_raises_costs_its_own_column(tmp_path: Path) -> None:
    text = METRIC + "\n\n@metric('bad', higher_is_better=True)\ndef bad(prediction, density):\n    return 1 / 0\n"
    outcome, _ = go(tmp_path, plugins=write(tmp_path, score=text), metrics=["cc", "bad"], probes=["centre"], pictures=0)
    cells = read_cells(outcome.folder)
    assert cells.status.item() == "finished"
    assert np.isfinite(cells.cc.item())
    line = len(text.splitlines())
    assert f"bad: ZeroDivisionError: division by zero (score.py, line {line})" in cells.unscored.item()


FRAGILE = """
from torch import nn
from harness import backbone

class Fragile(nn.Conv2d):
    def forward(self, x):
        return {}[x.shape[1]]

@backbone("fragile", layers={"0": (8, 2)})
def fragile(*, weights: str = "random", where: str = "nowhere") -> nn.Module:
    '''One convolution. where: it fails.'''
    if where == "build":
        return {}[where]
    kind = Fragile if where == "forward" else nn.Conv2d
    return nn.Sequential(kind(3, 8, 3, 2, 1))
"""


def test_a_network_that_fails_takes_down_its_own_cells_only(tmp_path: Path) -> None:
    files = write(tmp_path, net=FRAGILE)
    nets = [{"name": "fragile", "where": where} for where in ("forward", "build", "nowhere")]
    outcome, _ = go(tmp_path / "out", plugins=files, backbones=nets, layers=["0"], probes=["ridge"], pictures=0)
    cells = read_cells(outcome.folder).set_index("backbone")
    assert cells.status.to_dict() == {
        "fragile[where=forward]": "failed",
        "fragile[where=build]": "skipped",
        "fragile": "finished",
    }
    assert cells.error["fragile[where=forward]"] == "the network: KeyError: 3 (net.py, line 7)"
    assert "weights random cannot be had: KeyError: 'build' (net.py, line 13)" in cells.error["fragile[where=build]"]


LAZY = """
from harness import ModuleBackbone

@backbone("lazy")
class Lazy(ModuleBackbone):
    '''It cannot be loaded.'''
    layers = {"0": (8, 2)}

    def build(self):
        return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1))

    def load(self, device):
        return {}[device.type]
"""


def test_a_network_that_cannot_be_loaded_takes_down_its_own_cells_only(tmp_path: Path) -> None:
    text = BACKBONE + LAZY
    files = write(tmp_path, net=text)
    nets = ["lazy", "own_net"]
    outcome, _ = go(tmp_path / "out", plugins=files, backbones=nets, layers=["0"], probes=["ridge"], pictures=0)
    cells = read_cells(outcome.folder).set_index("backbone")
    assert cells.status.to_dict() == {"lazy": "failed", "own_net": "finished"}
    line = len(text.splitlines())
    assert cells.error["lazy"] == f"the network cannot be loaded: KeyError: 'cpu' (net.py, line {line})"


READER_CLASS = """
from harness import DatasetReader, dataset

@dataset("unread")
class Unread(DatasetReader):
    def read(self, split):
        return {}[split]
"""
READER_FUNCTION = """
from harness import dataset

@dataset("unread")
def unread(split):
    return {}[split]
"""


@pytest.mark.parametrize("text", [READER_CLASS, READER_FUNCTION])
def test_a_reader_that_raises_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    files = write(tmp_path, mine=text)
    words = rf"dataset unread, train split: KeyError: 'train' \(mine\.py, line {len(text.splitlines())}\)"
    with pytest.raises(DataError, match=words):
        go(tmp_path / "out", plugins=files, dataset={"reader": "unread"})


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory"), OSError(errno.ENOSPC, "no room")])
def test_nobody_is_blamed_for_the_machine(error: Exception) -> None:
    with pytest.raises(type(error)), blaming("a plugin"):
        raise error
