"""Plugins from files: loading, mistakes told by line, what a changed file changes, what a broken one costs."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness import registry as registry_module
from harness._probe import PROBES
from harness.blame import blaming
from harness.errors import DataError, PluginError, RecipeError
from harness.plan import make_plan
from harness.plugin_files import digests, file_of, load_plugins
from harness.recipe import load_recipe
from harness.results import read_cells, read_per_image
from tests.harness.test_run import TINY, go
from tests.plugins import forgotten

PROBE = """
import numpy as np
from harness import probe

@probe("mine")
def mine(features, density, *, shrink: float = 1.0):
    '''The mean difference. shrink: what the weights are multiplied with.'''
    return shrink * np.cov(features.T, density)[-1, :-1]
"""
BACKBONE = """
from torch import nn
from harness import backbone

@backbone("own_net", layers={"0": (8, 2), "2": (4, 4)})
def own_net(*, weights: str = "random", width: int = 8) -> nn.Module:
    '''Two convolutions. width: channels of the first.'''
    return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 4, 3, 2, 1))
"""
METRIC = """
from harness import metric

@metric("half_nss", higher_is_better=True)
def half_nss(prediction, fixations):
    '''Half the NSS.'''
    z = (prediction - prediction.mean((1, 2), keepdim=True)) / prediction.std((1, 2), keepdim=True, correction=0)
    return (z * fixations.values).sum((1, 2)) / fixations.values.sum((1, 2)) / 2
"""
DATASET = """
from pathlib import Path
import numpy as np
from harness import dataset

@dataset("pictures")
def pictures(split, *, root: str):
    '''Every picture below root/split, looked at in its middle.'''
    files = sorted((Path(root) / split).glob("*.png"))
    return [(file, np.random.default_rng(i).integers(20, 60, (9, 2))) for i, file in enumerate(files)]
"""
BROKEN = "from harness import probe\n\nvalue = 1 / 0\n"


@pytest.fixture(autouse=True)
def _forget_plugins() -> Iterator[None]:
    with forgotten():
        yield


def write(folder: Path, **files: str) -> list[str]:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return [str(folder / f"{name}.py") for name in files]


def test_what_a_file_registers_is_there_once(tmp_path: Path) -> None:
    files = write(tmp_path, probe=PROBE)
    load_plugins(files)
    mine = PROBES.get("mine")
    load_plugins(files)
    assert PROBES.get("mine") is mine
    assert PROBES.origin("mine") == files[0]
    assert file_of(mine) == Path(files[0])
    write(tmp_path, probe=PROBE + "\n")
    load_plugins(files)
    assert PROBES.get("mine") is not mine


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BROKEN, r"bad\.py, line 3: ZeroDivisionError"),
        ("x = 1\ndef f(:\n", r"bad\.py, line 2: SyntaxError"),
        ("import no_such_thing\n", r"bad\.py, line 1: ModuleNotFoundError"),
        (PROBE.replace("mine", "ridge"), "two probes are called 'ridge'"),
        (METRIC.replace("half_nss", "nss"), "two metrics are called 'nss'"),
        (METRIC.replace("fixations", "looks"), "nothing is called 'looks'"),
        (BACKBONE.replace(', layers={"0": (8, 2), "2": (4, 4)}', ""), "say its layers"),
        (DATASET.replace("split, *,", "*,"), r"takes 0 positional arguments, not 1: write pictures\(split"),
    ],
)
def test_a_bad_file_names_itself_and_the_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PluginError, match=words) as caught:
        load_plugins(write(tmp_path, bad=text))
    assert "bad.py" in str(caught.value)
    assert caught.value.exit_code == 2


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"nowhere\.py cannot be read"):
        load_plugins([tmp_path / "nowhere.py"])
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(PluginError, match=r"ends in \.py"):
        load_plugins([tmp_path / "x.txt"])


def test_a_recipe_names_files_beside_itself(tmp_path: Path) -> None:
    write(tmp_path, probe=PROBE, net=BACKBONE)
    (tmp_path / "r.yaml").write_text(
        "name: r\ndataset: demo\nbackbones: [own_net]\nprobes: [mine]\nplugins: [probe.py]\n"
    )
    recipe = load_recipe(str(tmp_path / "r.yaml"), plugins=[tmp_path / "net.py"])
    assert recipe.plugins == [str(tmp_path / "probe.py"), str(tmp_path / "net.py")]
    plan = make_plan(recipe)
    assert [cell.layer_set for cell in plan.cells] == ["0", "2", "all"]
    assert [name for name, _ in plan.cells[0].plugins] == ["mine", "own_net"]
    with pytest.raises(RecipeError, match="plugins"):
        load_recipe(str(tmp_path / "r.yaml"), ["plugins=5"])


def pictures(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("train", 6), ("test", 3)):
        (root / split).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / f"{i}.png")
    return root


def test_everything_from_files_runs_together(tmp_path: Path) -> None:
    files = write(tmp_path, probe=PROBE, net=BACKBONE, score=METRIC, data=DATASET)
    outcome, _ = go(
        tmp_path / "out",
        plugins=files,
        dataset={"reader": "pictures", "root": str(pictures(tmp_path / "pictures"))},
        backbones=["own_net"],
        layers=["0", "all"],
        probes=["ridge", {"name": "mine", "shrink": [1.0, 2.0]}, "centre"],
        metrics=["nss", "half_nss"],
    )
    cells = read_cells(outcome.folder)
    assert set(cells.status) == {"finished"}, list(cells.error)
    assert len(cells) == 1 + 2 * 3
    per_image = read_per_image(outcome.folder)
    np.testing.assert_allclose(per_image.half_nss * 2, per_image.nss, atol=1e-4)


def test_a_changed_plugin_is_another_cell(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"probes": ["ridge", "mine"], "layers": ["layer1"], "pictures": 0}
    keys = []
    for text in (PROBE, PROBE + "# more\n"):
        files = write(tmp_path, probe=text)
        cells = read_cells(go(tmp_path / "out", plugins=files, **changes)[0].folder)
        keys.append(cells.set_index("probe").cell_key)
    assert keys[0]["ridge"] == keys[1]["ridge"]
    assert keys[0]["mine"] != keys[1]["mine"]
    assert digests(PROBES.get("ridge")) == ()


def test_a_cell_that_fails_in_a_plugin_file_says_on_which_line(tmp_path: Path) -> None:
    files = write(tmp_path, mine=PROBE.replace("return shrink *", "return {}[shrink] *"))
    cells = read_cells(go(tmp_path / "out", plugins=files, probes=["mine"], layers=["layer1"])[0].folder)
    (error,) = cells.error[cells.probe == "mine"]
    line = 1 + (tmp_path / "mine.py").read_text().splitlines().index(
        "    return {}[shrink] * np.cov(features.T, density)[-1, :-1]"
    )
    assert error == f"KeyError: 1.0 (mine.py, line {line})"


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
