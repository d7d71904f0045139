from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import ResultsError
from harness.flags import UNCONVERGED, flag
from harness.results import ResultsFolder
from reports.terminal import clock, print_leaderboard
from tests.reports.conftest import cell_result


def printed(folder: Path, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_leaderboard(folder, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_rows_are_whole_and_ranked_by_cc(osie: Path, width: int) -> None:
    lines = printed(osie, width).splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if " 3.5 s" in line]
    probes = ("observers", "ridge", "sgd-kl", "ridge", "centre", "uniform")
    scores = ("0.885", "0.710", "0.700", "0.606", "0.315", "–")
    assert len(rows) == len(probes)
    for line, probe, cc in zip(rows, probes, scores, strict=True):
        assert f"{probe} " in line
        assert f" {cc} " in line
    for line in rows:  # the warned one is marked
        assert line.split()[-2:] == (["s", "e"] if " 0.606 " in line else ["3.5", "s"])


@pytest.mark.parametrize("width", [80, 120])
def test_the_best_cell_has_a_network(osie: Path, width: int) -> None:
    marked = [line for line in printed(osie, width).splitlines() if line.strip().startswith("★")]
    assert len(marked) == 2  # the row, and the line that explains the mark
    assert "layer3" in marked[0]
    assert "ridge" in marked[0]


def test_what_did_not_finish_is_listed_with_its_reason(osie: Path) -> None:
    text = " ".join(printed(osie, 80).split())
    assert "failed resnet50/caffe · layer1 · sgd-mse: FloatingPointError: training diverged [lr]" in text
    assert "skipped resnet50/caffe · layer9 · pooled: resnet50 has no layer layer9" in text
    assert "warning resnet50/caffe · layer4 · ridge: alpha 100 is at the edge of its grid" in text
    unscored = "3 of 200 images lack a score: nss: no fixation (3)"
    assert f"warning resnet50/caffe · layer2+layer3 · sgd-kl: {unscored}" in text
    assert "!: e a parameter was chosen at the edge of its grid" in text


def test_what_many_cells_are_warned_of_is_told_once(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path / "many")
    for n in range(50):
        result = cell_result(f"layer{n}", "sgd-kl", (0.5, 0.8, 1.0, 0.5, 0.7))
        flag(result.info, UNCONVERGED, f"not converged: the loss still fell by {n}%")
        results.add(result)
    results.flush()
    told = [line for line in printed(tmp_path / "many", 120).splitlines() if line.startswith("warning")]
    assert len(told) == 1
    assert "and 48 more: not converged" in told[0]
    assert "(the numbers differ)" in " ".join(printed(tmp_path / "many", 200).split())


def test_held_out_images_in_training_are_told_of_every_cell(osie: Path) -> None:
    overlap = {"images": 3, "allow_overlap": True, "files": []}
    (osie / "run.json").write_text(json.dumps({"dataset": {"test": {"images": 200}, "overlap": overlap}}))
    assert "warning every cell: 3 of 200 held-out images are training images, too" in printed(osie, 120)


def test_shared_passes_are_not_counted_as_a_cells_own(osie: Path) -> None:
    assert "resnet50/caffe 3:02" in printed(osie, 120)


def test_synthetic_data_is_called_so(demo: Path, osie: Path) -> None:
    assert "demo (synthetic)" in printed(demo, 80)
    assert "synthetic" not in printed(osie, 80)


def test_several_backbones_fit_into_eighty_columns(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path / "two")
    for name in ("resnet50", "vit_base_patch16_224"):
        results.add(cell_result("layer2+layer3", "sgd-kl", (0.7, 0.9, 2.4, 0.5, 0.7), backbone=name))
    results.flush()
    text = printed(tmp_path / "two", 80)
    assert "vit_base_patch16_224/caffe" in text
    assert text.count("layer2+layer3 · sgd-kl") == 2


def test_a_run_in_which_everything_failed_is_still_a_report(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path / "bad")
    results.add(cell_result("layer1", "ridge", status="failed", error="out of memory"))
    results.flush()
    assert "out of memory" in printed(tmp_path / "bad", 80)


def test_an_ascii_terminal_gets_an_ascii_mark(osie: Path) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    print_leaderboard(osie, Console(file=stream, width=80))
    stream.seek(0)
    assert any(line.strip().startswith("*") for line in stream)


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"cells\.parquet"):
        print_leaderboard(tmp_path)


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (9.96, "10.0 s"), (38.2, "38 s"), (725, "12:05")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
