"""Known numbers on real gaze: OSIE with its eye tracker, in the SALICON layout."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import load_recipe
from harness.results import read_cells
from harness.run import run

DATA = Path(os.environ.get("SALPROBE_TEST_DATA", "/nonexistent")) / "osie640"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="SALPROBE_TEST_DATA is not set: no osie640 to measure on")


def osie(out: Path, *overrides: str) -> pd.DataFrame:
    recipe = load_recipe("osie", [f"dataset.root={DATA}", "pictures=0", *overrides])
    return read_cells(run(make_plan(recipe), out, Silent()).folder)


@pytest.mark.slow
def test_floor_and_ceiling(tmp_path: Path) -> None:
    cells = osie(tmp_path, "backbones=[]", "probes=[centre, uniform, observers]").set_index("probe")
    assert set(cells.n_images) == {200}
    assert cells.cc["centre"] == pytest.approx(0.315, abs=0.005)
    assert cells.auc["centre"] == pytest.approx(0.745, abs=0.005)
    assert cells.nss["centre"] == pytest.approx(0.89, abs=0.02)
    assert cells.cc["observers"] == pytest.approx(0.885, abs=0.02)
    assert cells.auc["observers"] == pytest.approx(0.929, abs=0.01)
    assert cells.share_cc["centre"] == 0
    assert cells.share_cc["observers"] == 1
    assert cells.ig["centre"] == pytest.approx(0, abs=0.05)
    assert cells.sauc["centre"] == pytest.approx(0.5, abs=0.03)


@pytest.mark.slow
def test_pretrained_features_beat_random_ones(tmp_path: Path) -> None:
    cells = osie(
        tmp_path,
        "backbones.0.weights=[caffe, random]",
        "probes=[ridge, centre]",
        "layers=[layer3]",
        "limit=60",
        "input.size=[120, 160]",
    )
    assert set(cells.status) == {"finished"}
    low_level = cells[cells.backbone == "pixels"]
    cc = cells[cells.backbone != "pixels"].set_index("weights").cc
    assert len(cc) == 3
    assert len(low_level) == 5
    assert low_level.cc.max() < cc["caffe"] - 0.1
    assert cc["caffe"] > cc["random"] + 0.1
    assert cc["caffe"] > cc["none"] + 0.1
