"""Plugins from files: loading, mistakes told by line, what a changed file changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness._probe import PROBES
from harness.errors import PluginError, RecipeError
from harness.plan import make_plan
from harness.plugin_files import digests, file_of, load_plugins
from harness.recipe import load_recipe
from harness.results import read_cells, read_per_image
from tests.harness.test_run import go
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
