"""The page, from a real small run and from folders that lack something."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultsError
from harness.results import read_cells
from reports.report import write_report
from tests.harness.small_run import small_run

VOID = {"meta", "img", "input", "br", "hr", "link", "col", "source", "wbr"}
IN_SVG = {"path", "use", "line", "rect", "circle", "polygon", "polyline", "image", "stop"}


class Page(HTMLParser):
    """Every tag with its attributes; tags must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("run")).record.folder


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    out = tmp_path_factory.mktemp("report")
    return out, write_report([folder], out)


def page_of(out: Path) -> tuple[str, Page]:
    text = (out / "index.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_all_files_are_there(written: tuple[Path, list[Path]]) -> None:
    out, files = written
    assert all(file.stat().st_size > 200 for file in files)
    names = {str(file.relative_to(out)) for file in files}
    assert {"index.html", "leaderboard.csv", "leaderboard.md"} <= names
    for figure in ("layer_curve", "distributions", "training", "alphas", "layer_weights", "time", "solvers"):
        assert {f"figures/{figure}.png", f"figures/{figure}.svg"} <= names


def test_the_page_needs_nothing_but_itself(written: tuple[Path, list[Path]]) -> None:
    text, page = page_of(written[0])
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), f"{name}={value[:80]}"
    assert "@import" not in text
    assert not re.findall(r"url\((?!#|data:|\"data:|'data:)", text)
    assert len(text) < 8e6


def test_ids_are_unique_and_links_lead_somewhere(written: tuple[Path, list[Path]]) -> None:
    _, page = page_of(written[0])
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"] for a in page.all("a") if (a.get("href") or "").startswith("#")}
    assert targets <= {f"#{id_}" for id_ in ids}


def test_it_can_be_read_without_seeing(written: tuple[Path, list[Path]]) -> None:
    _, page = page_of(written[0])
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    images = page.all("img")
    assert images
    assert all(image.get("alt") is not None for image in images)
    svgs = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert svgs or any(len(image["alt"] or "") > 40 for image in images)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert all("scope" in header for header in page.all("th"))


def test_its_numbers_are_the_runs(folder: Path, written: tuple[Path, list[Path]]) -> None:
    text, page = page_of(written[0])
    cells = read_cells(folder)
    finished = cells[cells.status == "finished"]
    values = {attributes["data-value"] for attributes in page.all("td") if attributes.get("data-value")}
    shown = sorted(float(value) for value in values)
    for score in finished.cc:
        assert any(abs(value - score) < 5e-7 or f"{value:.3f}" == f"{score:.3f}" for value in shown)
    best = finished[finished.backbone != "none"].sort_values("cc").iloc[-1]
    assert f"{best.cc:.3f} [{best.cc_ci_low:.3f}, {best.cc_ci_high:.3f}]" in text
    assert "FloatingPointError" in text  # the cell that failed, with its reason
    assert "ynthetic" in text


def test_another_metric_ranks_and_an_unknown_one_is_refused(folder: Path, tmp_path: Path) -> None:
    write_report([folder], tmp_path, "nss")
    text, _ = page_of(tmp_path)
    assert "by NSS" in text
    with pytest.raises(ResultsError, match="nope"):
        write_report([folder], tmp_path, "nope")


def test_two_runs_share_a_page_and_are_told_apart(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    write_report([folder, other], tmp_path / "out")
    text, page = page_of(tmp_path / "out")
    rows = [attributes for attributes in page.all("th") if attributes.get("scope") == "row"]
    assert len(rows) > len(read_cells(folder))
    assert {"small", "other"} <= set(re.findall(r"\b(small|other)\b", text))


def test_other_images_are_said_not_to_compare(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    about = json.loads((other / "run.json").read_text())
    about["dataset"]["test"]["digest"] = "0" * 64
    (other / "run.json").write_text(json.dumps(about))
    write_report([folder, other], tmp_path / "out")
    assert "compar" in page_of(tmp_path / "out")[0].lower()


@pytest.mark.parametrize("lost", ["stimuli", "pairs.parquet", "run.json", "cells", "per_image.parquet"])
def test_what_is_missing_costs_its_own_section_only(folder: Path, tmp_path: Path, lost: str) -> None:
    poor = shutil.copytree(folder, tmp_path / "poor")
    path = poor / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_report([poor], tmp_path / "out")
    text, _ = page_of(tmp_path / "out")
    assert "resnet50/random · layer1 · ridge" in text


def test_hostile_names_stay_text(folder: Path, tmp_path: Path) -> None:
    evil = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    bad = shutil.copytree(folder, tmp_path / "bad")
    cells = read_cells(bad)
    cells["probe"] = [evil + str(i) for i in range(len(cells))]
    cells["error"] = [evil if error else None for error in cells.error]
    cells["dataset"] = evil
    cells.to_parquet(bad / "cells.parquet")
    index: dict[str, Any] = json.loads((bad / "stimuli" / "index.json").read_text())
    for entry in index.values():
        entry["file"] = "<script>.jpg"
    (bad / "stimuli" / "index.json").write_text(json.dumps(index))
    about = json.loads((bad / "run.json").read_text())
    about["environment"]["processor"] = evil
    (bad / "run.json").write_text(json.dumps(about))
    write_report([bad], tmp_path / "out")
    text, page = page_of(tmp_path / "out")
    assert len(page.all("script")) == 1
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert "&lt;script&gt;" in text


def test_a_folder_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is it the folder of a run"):
        write_report([tmp_path], tmp_path / "out")


def test_the_same_run_gives_the_same_page(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report([folder], tmp_path / name)
    assert (tmp_path / "a" / "index.html").read_bytes() == (tmp_path / "b" / "index.html").read_bytes()
