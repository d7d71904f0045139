"""Two chosen cells, image by image: the numbers against plain ones, and what cannot be compared."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from harness.errors import ResultsError
from harness.results import read_per_image
from reports.compared import compared, print_comparison, two_sides
from tests.reports import conftest
from tests.reports.conftest import METRICS
from tests.test_cli import salprobe


def printed(folders: list[Path], cells: list[str], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_comparison(folders, cells, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def on_images(folder: Path, digest: str) -> Path:
    """A finished matrix that says which images it was scored on."""
    (conftest.tested_folder(folder) / "run.json").write_text(json.dumps({"dataset": {"test": {"digest": digest}}}))
    return folder


def test_two_cells_of_a_run_on_every_metric(tmp_path: Path) -> None:
    folder = conftest.tested_folder(tmp_path / "osie")
    a, b = two_sides([folder], ["layer3 ridge", "all ridge"])
    rows = compared(a, b)
    scores = read_per_image(folder).pivot(index="image_id", columns="cell_key", values=list(METRICS))
    assert [row.metric for row in rows] == list(METRICS)
    for row in rows:
        first, second = (scores[row.metric][key] for key in ("layer3-ridge", "all-ridge"))
        assert row.mean_a == pytest.approx(first.mean())
        assert row.test.difference == pytest.approx((first - second).mean())
        assert row.test.n == 60
        ahead = (first < second) if row.metric == "kld" else (first > second)
        assert row.better == pytest.approx(ahead.mean())
        plain = stats.permutation_test(
            ((first - second).to_numpy(),), np.mean, permutation_type="samples", n_resamples=20_000, rng=1
        )
        assert row.test.p_value == pytest.approx(plain.pvalue, abs=0.02)
        assert row.p_holm >= row.test.p_value


def test_images_on_which_two_cells_are_alike_count_half(tmp_path: Path) -> None:
    one, other = on_images(tmp_path / "one", "d"), on_images(tmp_path / "other", "d")
    rows = compared(*two_sides([one, other], ["layer3"]))
    assert {row.better for row in rows} == {0.5}
    assert {row.p_holm for row in rows} == {1.0}


def test_two_runs_by_their_best_one_cell_or_one_each(tmp_path: Path) -> None:
    folders = [on_images(tmp_path / "one", "d"), on_images(tmp_path / "other", "d")]
    keys = [[side.row["cell_key"] for side in two_sides(folders, cells)] for cells in ([], ["all"], ["all", "layer1"])]
    assert keys == [["layer3-ridge"] * 2, ["all-ridge"] * 2, ["all-ridge", "layer1-ridge"]]


def test_it_fits_the_terminal(tmp_path: Path) -> None:
    text = printed([conftest.tested_folder(tmp_path / "osie")], ["layer3 ridge", "layer1 ridge"])
    assert max(map(len, text.splitlines())) <= 80
    assert "a osie: resnet50/caffe · layer3 · ridge" in text
    assert "b osie: resnet50/caffe · layer1 · ridge" in text
    (line,) = [line for line in text.splitlines() if line.strip().startswith("CC ")]
    assert line.split()[-4:] == ["0.001", "100", "%", "60"]
    assert "KLD (-)" in text


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    one, other = on_images(tmp_path / "one", "d"), on_images(tmp_path / "other", "e")
    unknown = conftest.tested_folder(tmp_path / "unknown")
    with pytest.raises(ResultsError, match="not scored on the same held-out images"):
        two_sides([one, other], [])
    with pytest.raises(ResultsError, match="not scored on the same held-out images"):
        two_sides([one, unknown], [])
    with pytest.raises(ResultsError, match="given were runs: 1, cells: 1; give one run and --cell twice"):
        two_sides([one], ["layer3"])
    with pytest.raises(ResultsError, match="runs: 3, cells: 0"):
        two_sides([one, other, unknown], [])
    with pytest.raises(ResultsError, match="are the same cell, resnet50/caffe · layer3 · ridge"):
        two_sides([one], ["layer3", "layer3 ridge"])
    with pytest.raises(ResultsError, match="no cell matches 'layer9'"):
        two_sides([one], ["layer3", "layer9"])


def test_the_command(tmp_path: Path) -> None:
    folder = str(conftest.tested_folder(tmp_path / "osie"))
    done = salprobe("compare", folder, "-c", "layer3", "-c", "layer1")
    assert done.returncode == 0, done.stderr
    assert "a osie: resnet50/caffe · layer3 · ridge" in done.stdout
    assert "KLD (-)" in done.stdout
    done = salprobe("compare", folder)
    assert done.returncode == ResultsError.exit_code
    assert "two cells are compared, given were runs: 1, cells: 0" in done.stderr
