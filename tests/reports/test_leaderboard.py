from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from harness.results import ResultsFolder
from reports._board import read_boards
from reports.leaderboard import write_leaderboard
from tests.reports.conftest import cell_result, results_folder


def table_of(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip(" *") for cell in line.strip("|").split(" | ")] for line in lines]


def test_both_files_say_the_same(osie: Path, tmp_path: Path) -> None:
    csv, page = write_leaderboard(read_boards([osie]), tmp_path / "out")
    assert (csv.name, page.name) == ("leaderboard.csv", "leaderboard.md")
    frame = pd.read_csv(csv)
    header, _, *rows = table_of(page.read_text())
    finished = frame[frame.status == "finished"]
    assert [row[header.index("probe")] for row in rows] == list(finished.probe)
    for metric in ("cc", "kld"):
        shown = [row[header.index(metric)] for row in rows]
        assert shown == ["–" if pd.isna(x) else f"{x:.3f}" for x in finished[metric]]
    assert "run" not in frame.columns
    assert "run" not in header


def test_csv_keeps_full_precision_and_every_cell(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path / "osie")
    results.add(cell_result("layer3", "ridge", (0.123456789012345,)))
    results.add(cell_result("layer4", "ridge", status="failed", error="no, it did not"))
    results.flush()
    csv, _ = write_leaderboard(read_boards([tmp_path / "osie"]), tmp_path)
    frame = pd.read_csv(csv)
    assert frame.cc[0] == 0.123456789012345
    assert frame.note[1] == "no, it did not"
    assert list(frame.best) == [True, False]


def test_only_the_best_network_cell_is_bold(osie: Path, tmp_path: Path) -> None:
    _, page = write_leaderboard(read_boards([osie]), tmp_path)
    bold = [line for line in page.read_text().splitlines() if line.startswith("| **")]
    assert len(bold) == 1
    assert "**layer3** | **ridge** | **0.710**" in bold[0]


def test_several_folders_get_a_run_column_and_tell_namesakes_apart(tmp_path: Path) -> None:
    folders = [results_folder(tmp_path / "a" / "osie"), results_folder(tmp_path / "b" / "osie")]
    csv, page = write_leaderboard(read_boards(folders), tmp_path)
    assert list(dict.fromkeys(pd.read_csv(csv).run)) == ["a/osie", "b/osie"]
    assert table_of(page.read_text())[0][0] == "run"


def test_failures_and_warnings_are_in_the_page(osie: Path, tmp_path: Path) -> None:
    csv, page = write_leaderboard(read_boards([osie]), tmp_path)
    text, flags = page.read_text(), pd.read_csv(csv).set_index(["layers", "probe"])["flags"]
    assert (flags["layer4", "ridge"], flags["layer2+layer3", "sgd-kl"]) == ("edge", "unscored")
    assert "- resnet50/caffe · layer1 · sgd-mse: failed: FloatingPointError: training diverged [lr]" in text
    assert "- resnet50/caffe · layer4 · ridge: alpha 100 is at the edge of its grid" in text


def test_synthetic_data_is_called_so(demo: Path, tmp_path: Path) -> None:
    assert "not a measurement of people" in write_leaderboard(read_boards([demo]), tmp_path)[1].read_text()


def test_the_page_says_what_made_it_and_how_to_make_it_again(osie: Path, tmp_path: Path) -> None:
    about = {
        "dataset": {"name": "osie640", "edition": "custom", "points": "eye", "test": {"digest": "ab" * 32}},
        "environment": {"packages": {"torch": "2.5.0"}, "git_commit": "c" * 40, "git_dirty": True},
    }
    (osie / "run.json").write_text(json.dumps(about))
    text = write_leaderboard(read_boards([osie]), tmp_path)[1].read_text()
    for fact in (
        "recipe: osie",
        "dataset: osie640, custom, eye",
        "test images: sha256 " + "ab" * 8,
        "weights: resnet50/caffe",
        "versions: torch 2.5.0",
        "commit: " + "c" * 12 + " with local changes",
        "`salprobe run results/osie/recipe.yaml`",
    ):
        assert fact in text


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_broken_run_file_costs_the_facts_not_the_page(osie: Path, tmp_path: Path, content: str) -> None:
    (osie / "run.json").write_text(content)
    assert "recipe: osie" in write_leaderboard(read_boards([osie]), tmp_path)[1].read_text()


def test_a_bar_in_a_name_does_not_break_the_table(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path / "odd")
    results.add(cell_result("layer3", "ridge[a|b]", (0.5,)))
    results.flush()
    text = write_leaderboard(read_boards([tmp_path / "odd"]), tmp_path)[1].read_text()
    assert "ridge[a\\|b]" in text
