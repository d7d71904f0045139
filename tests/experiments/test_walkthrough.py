"""The notebook runs from its first cell to its last, is committed without outputs, and its published copy is whole."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "experiments" / "walkthrough.ipynb"
PUBLISHED = ROOT / "reports" / "published" / "walkthrough"


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_committed_without_outputs(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [None] * len(code)
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}
    assert not any(cell.metadata for cell in notebook.cells)


def test_it_uses_the_public_api_only(notebook: nbformat.NotebookNode) -> None:
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    imported = set(re.findall(r"^(?:from|import) (\S+)", source, re.MULTILINE))
    ours = {name for name in imported if name.partition(".")[0] in ("harness", "probes", "backbones", "reports")}
    assert ours == {"harness", "harness.metrics", "harness.predictor"}
    assert not re.search(r"\._[a-z]", source)


def test_its_text_cells_are_short(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert len(cell.source.split()) <= 100, cell.source


@pytest.mark.slow
def test_it_runs_on_the_embedded_data(
    notebook: nbformat.NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SALPROBE_TEST_DATA", raising=False)
    run = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in run.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == len(list(PUBLISHED.rglob("*.png")))


def test_the_published_copy_is_whole_and_small() -> None:
    text = (PUBLISHED / "walkthrough.md").read_text(encoding="utf-8")
    linked = {PUBLISHED / name for name in re.findall(r"!\[[^\]]*\]\(([^)]+\.png)\)", text)}
    assert linked == set(PUBLISHED.rglob("*.png"))
    assert len(linked) == 8
    assert sum(file.stat().st_size for file in PUBLISHED.rglob("*") if file.is_file()) < 2_000_000
    assert "Traceback" not in text
    assert "Warning" not in text


def test_the_published_copy_has_the_notebooks_words_and_code(notebook: nbformat.NotebookNode) -> None:
    text = (PUBLISHED / "walkthrough.md").read_text(encoding="utf-8")
    for cell in notebook.cells:
        assert cell.source.strip() in text, "make walkthrough renders it again"
