"""Known answers: what theory demands is met, and whatever is off is found."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from harness.errors import ResultsError
from harness.ground_truth import Pool
from harness.machine import stream_settings
from harness.plan import Plan, make_plan
from harness.progress import Silent
from harness.recipe import load_recipe
from harness.results import PER_IMAGE, cell_folder, read_cells, read_per_image
from harness.run import run
from harness.stream import Stream
from reports.self_check import DEMANDS, print_verdict, verdicts
from tests.test_cli import salprobe

SMALL = ["dataset.train=8", "dataset.test=5", "dataset.height=96", "dataset.width=128", "pictures=0", "workers=0"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(load_recipe("self-check", SMALL))


@pytest.fixture(scope="module")
def checked(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(plan, tmp_path_factory.mktemp("check"), Silent()).folder


def printed(folder: Path) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=80)
    off = print_verdict(folder, console)
    assert isinstance(console.file, io.StringIO)
    return off, console.file.getvalue()


def test_every_demand_is_met(checked: Path) -> None:
    off, text = printed(checked)
    assert (off, len(verdicts(checked))) == (0, len(DEMANDS))
    assert f"{len(DEMANDS)} of {len(DEMANDS)} demands are met" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


@pytest.mark.parametrize(
    ("predictor", "metric", "change"),
    [
        ("density", "cc", -1e-4),
        ("density", "kld", 1e-4),
        ("inverted", "auc", 1e-6),
        ("inverted", "nss", 1e-3),
        ("uniform", "sauc", 1e-9),
        ("fixations", "auc", -0.2),
        ("uniform", "nss", math.nan),
    ],
)
def test_one_score_of_one_image_that_is_off_is_found(
    checked: Path, tmp_path: Path, predictor: str, metric: str, change: float
) -> None:
    folder = tmp_path / "self-check"
    shutil.copytree(checked, folder)
    cells, rows = read_cells(folder), read_per_image(folder)
    key = cells.cell_key[cells.probe.str.contains(predictor)].item()
    rows.loc[(rows.cell_key == key).idxmax(), metric] += change
    rows.to_parquet(folder / PER_IMAGE, index=False)
    off, text = printed(folder)
    assert off >= 1
    assert f"off {metric} of" in text


def test_ig_of_uniform_is_that_of_the_training_images_prior(checked: Path, plan: Plan) -> None:
    """By hand: the prior's density to the fitted power, against the other held-out images' prior."""
    cells = read_cells(checked).set_index("probe")
    key = cells.cell_key["uniform"]
    weight = json.loads((cell_folder(checked, key) / "readout.json").read_text())["info"]["density"]["prior_weight"]
    scored = read_per_image(checked).query("cell_key == @key").set_index("image_id").ig
    train, test = plan.reader.read("train"), plan.reader.read("test")
    prior, others = Pool(train, CPU), Pool(test, CPU)
    for batch in Stream(test, stream_settings(plan.recipe, plan.reader, CPU), CPU).batches():
        powered = (weight * prior.log_prior(batch, leave_out=False)[0].double()).exp()
        log_p = (powered / powered.sum()).log()
        for i, image in enumerate(batch.ids):
            baseline = others.log_prior(batch, leave_out=True)[i].double()
            points = batch.points[i]
            gain = (log_p - baseline)[points.row, points.col].mean().item() / math.log(2)
            assert gain == pytest.approx(scored[image], abs=1e-5)


def test_another_run_is_no_self_check(small: Path) -> None:
    with pytest.raises(ResultsError, match="oracle-density"):
        verdicts(small)


def test_oracles_are_called_what_they_are(checked: Path) -> None:
    cells = read_cells(checked)
    oracles = cells[cells.probe.str.startswith("oracle")]
    assert list(oracles.probe.str.endswith("(not a model)")) == [True] * 3
    assert oracles.warnings.str.contains("not a model").all()


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    done = salprobe("self-check", "--out", str(tmp_path), *(x for change in SMALL for x in ("--set", change)))
    assert done.returncode == 0, done.stderr
    assert "demands are met" in done.stdout
    assert not (tmp_path / "mlflow.db").exists()  # a check of the scoring is no run to compare
