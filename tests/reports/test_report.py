"""The page as a whole: complete, alone, true to the tables, safe with any name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from harness.errors import ResultsError
from harness.results import read_cells
from reports.answer import comparability
from reports.report import write_report
from reports.study import read_studies
from tests.reports.conftest import matrix_folder
from tests.reports.html import Page


def page_of(folders: list[Path], out: Path, by: str | None = None) -> Page:
    page, *_ = write_report(folders, out, by)
    parsed = Page(page.read_text(encoding="utf-8"))
    parsed.check()
    return parsed


@pytest.fixture(scope="session")
def written(small: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, Path]:
    out = tmp_path_factory.mktemp("report")
    return page_of([small], out), out


def words(page: Page) -> str:
    return " ".join(page.all("body")[0].text.split())


def test_every_file_it_names_is_there(small: Path, tmp_path: Path) -> None:
    files = write_report([small], tmp_path)
    assert all(file.stat().st_size for file in files)
    names = {str(file.relative_to(tmp_path)) for file in files}
    assert {"index.html", "leaderboard.csv", "leaderboard.md", "figures/gallery.jpg"} <= names
    for figure in ("layer_curve", "solvers", "distributions", "training", "alphas", "layer_weights", "time"):
        assert {f"figures/{figure}.svg", f"figures/{figure}.png"} <= names
    named = re.findall(r"figures/[\w-]+\.svg", (tmp_path / "index.html").read_text())
    assert set(named) <= names


def test_the_page_needs_nothing_else(written: tuple[Page, Path]) -> None:
    page, _ = written
    assert not re.search(r"https?:|@import|<(iframe|object|embed|script src|link rel=.style)", page.source)
    for element in page.elements:
        source = element.attributes.get("src")
        assert source is None or source.startswith("data:image/")
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", page.source))


def test_the_numbers_are_those_of_the_tables(written: tuple[Page, Path], small: Path) -> None:
    page, _ = written
    cells = read_cells(small).set_index("cell_key")
    rows = re.findall(r'<tr data-key="(\w+)".*?</tr>', page.source, flags=re.DOTALL)
    assert sorted(rows) == sorted(cells.index)
    heads = [e.text.split()[0] for e in page.all("th", data_kind="number")]
    for key, row in re.findall(r'<tr data-key="(\w+)"(.*?)</tr>', page.source, flags=re.DOTALL):
        values = dict(zip(heads, re.findall(r'data-value="([^"]*)"', row), strict=True))
        for metric in ("cc", "kld", "auc", "ig"):
            value = values[metric.upper()]
            assert (float(value) if value else None) == (None if pd.isna(x := cells[metric][key]) else x)
        assert (float(values["range"]) if values["range"] else None) == cells["share_cc"].get(key)
        if pd.notna(cells.cc_ci_low[key]):
            assert f"{cells.cc[key]:.3f} [{cells.cc_ci_low[key]:.3f}, {cells.cc_ci_high[key]:.3f}]" in row


def test_it_says_what_the_best_is_and_what_made_it(written: tuple[Page, Path], small: Path) -> None:
    text = words(written[0])
    cells = read_cells(small)
    best = cells[cells.backbone != "none"].sort_values("cc").iloc[-1]
    assert f"resnet50/random · {best.layers} · {best.probe} predicts gaze best: CC {best.cc:.3f} [" in text
    assert "from the runner-up" in text
    assert "Synthetic images and gaze: not a measurement of people." in text
    about = json.loads((small / "run.json").read_text())
    assert about["dataset"]["test"]["digest"][:16] in text
    assert f"torch {about['environment']['packages']['torch']}" in text
    assert "8 training and 4 held-out images" in text
    assert "none: generated scenes, simulated gaze" in text
    assert "licence of the data" in text


def test_the_gallery_shows_image_gaze_prediction_and_overlay(written: tuple[Page, Path]) -> None:
    page, _ = written
    alts = [e.attributes["alt"] for e in page.all("img")]
    for start in ("generated image ", "simulated gaze density on image ", "resnet50/random · ", "the same prediction"):
        assert sum(alt.startswith(start) for alt in alts) >= 4
    assert any(re.search(r"for image \d+, CC -?\d\.\d{3}", alt) for alt in alts)
    assert "One image, all layers" in words(page)
    for note in ("best 1", "best 4"):
        assert note in words(page)


def test_the_same_results_make_the_same_page(small: Path, tmp_path: Path) -> None:
    once, twice = (write_report([small], tmp_path / name) for name in ("once", "twice"))
    for a, b in zip(once, twice, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_names_are_text_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert('$x$')</script>"
    folder = matrix_folder(tmp_path / "a&<b>", first=evil)
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"name": evil}))
    page = page_of([folder], tmp_path / "out")
    assert page.source.count("<script>") == 1
    assert "alert('$x$')" not in page.source.split("<script>")[1]
    text = words(page)
    assert evil in text
    assert evil in page.all("title")[0].text
    assert any(evil in element.attributes["aria-label"] for element in page.all("svg"))
    assert any(evil == element.text.strip() for element in page.all("text"))


def test_any_metric_ranks(matrix: Path, tmp_path: Path) -> None:
    page = page_of([matrix], tmp_path, by="kld")
    cells = read_cells(matrix)
    order = re.findall(r'<tr data-key="([^"]+)"', page.source)
    assert order == list(cells.sort_values("kld", kind="stable").cell_key)
    assert page.all("th", data_kind="number")[0].text.startswith("KLD")
    assert "predicts gaze best: KLD" in words(page)
    assert pd.read_csv(tmp_path / "leaderboard.csv").kld.is_monotonic_increasing
    with pytest.raises(ResultsError, match="no metric 'nes'"):
        write_report([matrix], tmp_path, by="nes")


def test_what_did_not_finish_and_warnings_are_listed(osie: Path, tmp_path: Path) -> None:
    text = words(page_of([osie], tmp_path))
    assert "failed resnet50/caffe · layer1 · sgd-mse: FloatingPointError: training diverged [lr]" in text
    assert "skipped resnet50/caffe · layer9 · pooled: resnet50 has no layer layer9" in text
    assert "resnet50/caffe · layer4 · ridge: alpha 100 is at the edge of its grid" in text


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (("run.json", "recipe.yaml"), "predicts gaze best"),
        (("per_image.parquet", "pairs.parquet"), "The scores of single images are not there."),
        (("cells", "stimuli"), "has no pictures"),
    ],
)
def test_a_missing_piece_costs_what_is_made_of_it(small: Path, tmp_path: Path, gone: list[str], said: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(small, folder)
    for name in gone:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    text = words(page_of([folder], tmp_path / "out"))
    assert "predicts gaze best" in text
    assert said in text


def test_a_run_in_which_everything_failed_is_still_a_page(tmp_path: Path) -> None:
    from harness.results import ResultsFolder
    from tests.reports.conftest import cell_result

    results = ResultsFolder(tmp_path / "bad")
    results.add(cell_result("layer1", "ridge", status="failed", error="out of memory"))
    results.flush()
    text = words(page_of([tmp_path / "bad"], tmp_path / "out"))
    assert "No cell was scored." in text
    assert "out of memory" in text


def test_runs_on_the_same_images_are_compared(tmp_path: Path) -> None:
    folders = [matrix_folder(tmp_path / "a" / "osie"), matrix_folder(tmp_path / "b" / "osie")]
    for folder in folders:
        (folder / "run.json").write_text(json.dumps({"dataset": {"test": {"digest": "ab" * 32}}}))
    page = page_of(folders, tmp_path / "out")
    text = words(page)
    assert "Not comparable" not in text
    assert re.search(r"a/osie \(.*\) minus b/osie \(.*\): \+0\.000 \[.*\] in CC, p = 1\.000, 40 images", text)
    assert page.all("th", data_kind="text")[0].text == "run"
    assert (tmp_path / "out" / "figures" / "a-osie-controls.svg").exists()


def test_runs_on_other_images_are_said_not_to_be_comparable(small: Path, matrix: Path, tmp_path: Path) -> None:
    assert comparability(read_studies([small, matrix]))[0].startswith("It is not known")
    (matrix / "run.json").write_text(json.dumps({"dataset": {"test": {"digest": "ab" * 32}}}))
    text = words(page_of([small, matrix], tmp_path / "two"))
    assert "Not comparable: The runs were scored on different test sets (small: demo" in text
    assert "minus matrix" not in text


def test_a_folder_of_an_older_recipe_is_ranked_by_cc(matrix: Path, tmp_path: Path) -> None:
    (matrix / "recipe.yaml").write_text(yaml.safe_dump({"name": "old", "compare": "nes"}))
    assert "predicts gaze best: CC" in words(page_of([matrix], tmp_path))
