"""Every metric on every case of the oracle: closed forms in float64, computed elsewhere."""

from __future__ import annotations

import json
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.metrics import auc, auc_borji, auc_judd, cc, ig, kld, nss, sauc, sim

KEYS = {
    "auc": "AUC_all_dup",
    "auc_judd": "AUC_Judd_nojitter_uniq",
    "sauc": "sAUC_otherdup",
    "nss": "NSS_ddof0_dup",
    "cc": "CC",
    "sim": "SIM_minmax",
    "kld": "KLD_MIT_eps",
    "ig": "IG_density_pure_dup",
}
# Where the convention goes beyond the closed form: a constant prediction is a correlation of 0, and a NaN anywhere in
# a prediction leaves the image unscored, also where the metric would not have looked at that pixel.
STATED = {("constant", "cc"): 0.0, ("nan_unfixated", "sauc"): math.nan}
CASES = (
    *(
        "smooth_good",
        "smooth_chance",
        "peaked",
        "constant",
        "ties8",
        "uint8",
        "relu_sparse",
        "single_fix",
        "dup_hotspot",
    ),
    *("border_fix", "negative", "no_fix", "nan_unfixated", "pred_is_gt", "pred_is_base"),
)


@cache
def oracle() -> tuple[Any, Any]:
    folder = os.environ.get("SALPROBE_TEST_ORACLE")
    if not folder:
        pytest.skip("SALPROBE_TEST_ORACLE does not name the folder of the metric oracle")
    return np.load(Path(folder) / "cases.npz"), json.loads((Path(folder) / "values.json").read_text())


def case(name: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    arrays, _ = oracle()
    given = {key: torch.from_numpy(arrays[f"{name}/{key}"])[None].to(dtype) for key in ("pred", "gt", "base")}
    for key in ("fix", "other"):
        points = torch.from_numpy(arrays[f"{name}/{key}"])
        counts = torch.zeros(given["pred"].shape, dtype=torch.int32)
        one = torch.ones(len(points), dtype=torch.int32)
        given[key] = counts.index_put_((torch.zeros(len(points)).long(), *points.T), one, accumulate=True)
    return given


def log_density(values: Tensor) -> Tensor:
    shifted = values - values.min().clamp(max=0)
    return (shifted / shifted.sum()).log()


def scores(given: dict[str, Tensor]) -> dict[str, float]:
    p, fix, gt = given["pred"], given["fix"], given["gt"]
    result = {
        "auc": auc(p, fix),
        "auc_judd": auc_judd(p, fix),
        "sauc": sauc(p, fix, given["other"]),
        "nss": nss(p, fix),
        "cc": cc(p, gt),
        "sim": sim(p, gt),
        "kld": kld(p, gt),
        "ig": ig(log_density(p), fix, log_density(given["base"])),
    }
    assert all(value.dtype == torch.float64 for value in result.values())
    return {name: value.item() for name, value in result.items()}


def test_no_case_is_left_out() -> None:
    assert set(oracle()[1]) == set(CASES)


@pytest.mark.parametrize("metric", KEYS)
@pytest.mark.parametrize("name", CASES)
def test_equals_the_closed_form(name: str, metric: str) -> None:
    given = case(name)
    expected = STATED.get((name, metric), float(oracle()[1][name]["exact"][KEYS[metric]]))
    assert scores(given)[metric] == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", CASES)
def test_float32_keeps_the_digits(name: str) -> None:
    given = case(name, torch.float32)
    single, double = (
        scores(given),
        scores({key: x.double() if x.is_floating_point() else x for key, x in given.items()}),
    )
    assert single == pytest.approx(double, rel=1e-5, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("name", ["smooth_good", "ties8", "uint8", "relu_sparse", "border_fix", "pred_is_base"])
def test_borji_tends_to_the_mann_whitney_statistic_of_distinct_pixels(name: str) -> None:
    given = case(name)
    random = torch.Generator().manual_seed(0)
    limit = auc_borji(given["pred"], given["fix"], generator=random, splits=2000, step=0.002).item()
    assert limit == pytest.approx(oracle()[1][name]["exact"]["AUC_all_uniq"], abs=3e-3)


@pytest.mark.parametrize("name", ["smooth_good", "peaked", "ties8", "uint8", "relu_sparse", "dup_hotspot"])
def test_borji_in_its_usual_form_is_near_the_mit_code(name: str) -> None:
    given = case(name)
    value = auc_borji(given["pred"], given["fix"], generator=torch.Generator().manual_seed(0)).item()
    assert value == pytest.approx(oracle()[1][name]["MIT-octave"]["AUC_Borji"], abs=0.01)
