"""The examples that people copy are run: every block of Python in CONTRIBUTING.md and the README is a sound plugin.

And the tests that the table of faults names are there.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.plugin_files import load_plugins
from harness.testing import check_backbone, check_dataset, check_metric, check_probe
from tests.plugins import forgotten

ROOT = Path(__file__).parent.parent
ELSEWHERE = "test_hostile_names.py"
"""A whole file of tests."""


def examples(file: str) -> list[str]:
    """Indented blocks that hold a decorated plugin."""
    text = (ROOT / file).read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, flags=re.MULTILINE)
    return [textwrap.dedent(block).strip() + "\n" for block in blocks if "    @" in block]


@pytest.fixture(autouse=True)
def _forget_plugins() -> Iterator[None]:
    with forgotten():
        yield


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("train/a", "train/b", "test/c"):
        picture = tmp_path / f"{name}.png"
        picture.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(picture)
        picture.with_suffix(".csv").write_text("1,2,0\n3,60,1\n")
    return tmp_path


@pytest.mark.parametrize("code", [*examples("CONTRIBUTING.md"), *examples("README.md")])
def test_an_example_keeps_its_contract(code: str, tmp_path: Path, pictures: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(code)
    load_plugins([file])
    (kind, name) = re.findall(r'^@(\w+)\("(\w+)"', code, flags=re.MULTILINE)[0]
    if kind == "probe":
        check_probe(name, processes=False)
    elif kind == "backbone":
        check_backbone(name, weights="random")
    elif kind == "dataset":
        check_dataset(name, root=str(pictures))
    else:
        check_metric(name)


def test_there_is_one_of_each_kind_and_the_short_ones_are_short() -> None:
    found = examples("CONTRIBUTING.md")
    kinds = [re.findall(r"^@(\w+)", code, flags=re.MULTILINE)[0] for code in found]
    assert kinds == ["probe", "probe", "backbone", "dataset", "metric"]
    assert all(len(code.strip().splitlines()) <= 11 for code in (*found[:1], *found[2:]))
    assert examples("README.md") == found[:1]


def test_every_fault_names_a_test_that_exists() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Faults")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 30
    for fault, happens, code, test in ([cell.strip() for cell in row] for row in rows):
        assert fault
        assert happens
        assert code
        file, _, name = test.strip("`").partition("::")
        if file == ELSEWHERE:
            continue
        text = (ROOT / "tests" / "harness" / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", text, flags=re.MULTILINE), test
