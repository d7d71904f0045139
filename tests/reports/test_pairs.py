from __future__ import annotations

import io
import math
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console

from harness.results import interval_columns, read_cells, read_pairs, share_columns
from reports._board import read_board, read_boards
from reports._pairs import against, difference, p_value, read_tests
from reports.leaderboard import write_leaderboard
from reports.terminal import print_leaderboard
from tests.reports.conftest import results_folder

SENTENCE = "layer3 · ridge − all · ridge: +0.011 [−0.005, 0.028] in cc, p (Holm) = 0.184, 60 images"


def printed(folder: Path, width: int, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    print_leaderboard(folder, Console(file=stream, width=width))
    stream.seek(0)
    return stream.read()


def test_the_terminal_has_the_interval_where_there_is_room(tested: Path) -> None:
    row = read_cells(tested).query("layers == 'layer3'").iloc[0]
    shown = f"{row.cc:.3f} [{row.cc_ci_low:.3f}, {row.cc_ci_high:.3f}]"
    assert shown in printed(tested, 120)
    for width in (80, 119):
        assert f" {row.cc:.3f} " in printed(tested, width)
        assert shown not in printed(tested, width)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_rows_stay_whole(tested: Path, width: int) -> None:
    lines = printed(tested, width).splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if line.rstrip().endswith("3.5 s")]
    assert len(rows) == 5
    for row, percent in zip(rows, ("100", "64", "62", "22", "0"), strict=True):
        assert row.split()[-5] == percent


def test_what_does_not_fit_is_left_out_from_the_end_and_said(tested: Path) -> None:
    text = printed(tested, 66)
    header, *rows = [line for line in text.splitlines() if "range %" in line or "3.5 s" in line][:6]
    assert header.split()[:4] == ["cell", "CC", "AUC", "NSS"]
    assert "KLD" not in header
    assert [row.split()[0] for row in rows] == ["observers", "★", "all", "layer1", "centre"]
    assert "no room for SIM, KLD" in text
    assert "no room" not in printed(tested, 80)


@pytest.mark.parametrize("width", [80, 120])
def test_the_best_cell_is_set_against_the_runner_up(tested: Path, width: int) -> None:
    text = " ".join(printed(tested, width).split())
    assert SENTENCE in text
    assert "it differs from 1 of the 2 other cells with a network (p (Holm) < 0.05)" in text


def test_an_ascii_terminal_gets_ascii_minuses(tested: Path) -> None:
    assert "+0.011 [-0.005, 0.028]" in printed(tested, 120, "ascii")


def test_folders_without_uncertainty_say_nothing_of_it(osie: Path, tmp_path: Path) -> None:
    csv, page = write_leaderboard(read_boards([osie]), tmp_path)
    assert not [name for name in pd.read_csv(csv).columns if "_ci_" in name or "share" in name]
    for text in (printed(osie, 120), page.read_text()):
        assert "ange %" not in text
        assert "Holm" not in text
        assert "[0." not in text


def test_csv_has_the_uncertainty_of_every_metric(tested: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(write_leaderboard(read_boards([tested]), tmp_path)[0]).set_index("cell_key")
    cells = read_cells(tested).set_index("cell_key")
    for metric in ("cc", "auc", "nss", "sim", "kld"):
        for name in interval_columns(metric):
            assert frame[name].to_dict() == cells[name].to_dict()
    for name in share_columns("sim"):
        assert frame[name].to_dict() == cells[name].to_dict()
    assert "share_kld" not in frame.columns  # there the "ceiling" is worse than the floor


def test_the_page_has_the_interval_the_share_and_the_pairs(tested: Path, tmp_path: Path) -> None:
    text = write_leaderboard(read_boards([tested]), tmp_path)[1].read_text()
    assert "| **0.704 [0.676, 0.732]** | **0.694** |" in text
    assert "| kld | range % | images |" in text
    section = text.split("## resnet50/caffe · layer3 · ridge minus each other cell, cc")[1]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| observers",
        "| resnet50/caffe · all · ridge",
        "| resnet50/caffe · layer1 · ridge",
        "| centre",
    ]
    assert rows[1] == "| resnet50/caffe · all · ridge | +0.011 [−0.005, 0.028] | 0.184 | 0.184 | 60 |"
    assert "over all 10 pairs of cells" in section


def test_old_and_new_folders_go_into_one_page(tested: Path, tmp_path: Path) -> None:
    csv, page = write_leaderboard(read_boards([results_folder(tmp_path / "old"), tested]), tmp_path)
    assert pd.read_csv(csv).groupby("run").share_cc.count().to_dict() == {"old": 0, "tested": 5}
    text = page.read_text()
    table = [line for line in text.splitlines() if line.startswith(("| old", "| **old", "| tested", "| **tested"))]
    assert len({line.count("|") for line in table}) == 1
    assert "### resnet50/caffe · layer3 · ridge minus each other cell, cc" in text


def test_the_recipes_metric_ranks(tested: Path) -> None:
    recipe = yaml.safe_load((tested / "recipe.yaml").read_text())
    (tested / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "compare": "auc"}))
    board = read_board(tested)
    assert board.by == "auc"
    assert [row["auc"] for row in board.finished] == sorted((row["auc"] for row in board.finished), reverse=True)
    assert "Holm" not in printed(tested, 120)  # the tests in the folder are on another metric


def test_seen_from_either_side(tested: Path) -> None:
    tests = read_tests(tested)
    assert len(tests) == len(read_pairs(tested)) == 10
    one, other = against(tests, "layer3-ridge", "cc")["all-ridge"], against(tests, "all-ridge", "cc")["layer3-ridge"]
    assert difference(one) == "+0.011 [−0.005, 0.028]"
    assert difference(other) == "−0.011 [−0.028, 0.005]"
    assert (one["label_a"], one["label_b"]) == (other["label_b"], other["label_a"])
    assert one["p_holm"] == other["p_holm"]
    assert len(against(tests, "centre", "cc")) == 0  # keys, not names
    assert against([{**one, "low": math.nan}], one["cell_a"], "cc") == {}


@pytest.mark.parametrize(("p", "text"), [(0.0001, "< 0.001"), (0.001, "= 0.001"), (0.0499, "= 0.050"), (1, "= 1.000")])
def test_p_value(p: float, text: str) -> None:
    assert p_value(p) == text
