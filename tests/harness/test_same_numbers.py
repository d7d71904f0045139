"""The same seed gives the same numbers: to the bit on one machine, within stated tolerances elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harness.determinism import CUBLAS, deterministic
from harness.results import read_cells, read_per_image
from tests.harness.test_distributed import RECIPE, launch, write
from tests.harness.test_run import go

CLOSED, GRADIENT, BF16 = 1e-6, 1e-4, 0.01
"""CONTRIBUTING.md states these: how far a mean may move by batches and processes (closed forms, heads trained by
gradient descent), and between fp32 and bf16."""
METRICS = ["cc", "auc", "nss", "sim", "kld", "ig", "sauc", "auc_judd"]
CHANGES = {"dataset": RECIPE["dataset"], "probes": RECIPE["probes"], "pictures": 0}
Folder = Callable[[str, int], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The results of one process in that precision with batches of that size."""

    @cache
    def finished(precision: str, batch_size: int) -> Path:
        out = tmp_path_factory.mktemp(f"{precision}-{batch_size}")
        return go(out, precision=precision, batch_size=batch_size, **CHANGES)[0].folder

    return finished


def readouts(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("readout.safetensors")}


def assert_close(one: Path, other: Path, closed: float, gradient: float) -> None:
    a, b = (read_cells(folder).set_index(["probe", "layers"]) for folder in (one, other))
    assert set(a.status) == set(b.status) == {"finished"}
    trained = a.index.get_level_values("probe").str.contains("sgd")
    np.testing.assert_allclose(b.loc[~trained, METRICS], a.loc[~trained, METRICS], rtol=0, atol=closed)
    np.testing.assert_allclose(b.loc[trained, METRICS], a.loc[trained, METRICS], rtol=0, atol=gradient)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_twice_on_one_machine_is_the_same_to_the_bit(folder: Folder, tmp_path: Path, precision: str) -> None:
    first = folder(precision, 32)
    second = go(tmp_path, precision=precision, batch_size=32, **CHANGES)[0].folder
    for read in (read_cells, read_per_image):
        a, b = (read(f).drop(columns=[c for c in read(f).columns if c.startswith("time_")]) for f in (first, second))
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert readouts(first)
    assert readouts(first) == readouts(second)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_batches_of_1_and_32_agree(folder: Folder, precision: str) -> None:
    assert_close(folder(precision, 32), folder(precision, 1), CLOSED, GRADIENT)


def test_precisions_agree_as_far_as_bf16_goes(folder: Folder) -> None:
    assert_close(folder("fp32", 32), folder("bf16", 32), BF16, BF16)
    a, b = (read_cells(folder(precision, 32)) for precision in ("fp32", "bf16"))
    network = a.backbone != "none"
    assert not set(a.cell_key[network]) & set(b.cell_key[network])  # other numbers, other cells


@pytest.mark.slow
def test_two_processes_with_single_images_agree_with_one(folder: Folder, tmp_path: Path) -> None:
    """In fp32 with other batches: test_distributed."""
    done = launch(2, write(tmp_path, precision="bf16", batch_size=1, pictures=0), tmp_path)
    assert done.returncode == 0, done.stderr
    assert_close(folder("bf16", 32), tmp_path / "tiny", CLOSED, GRADIENT)


def test_determinism_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CUBLAS[0], raising=False)
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ[CUBLAS[0]] == CUBLAS[1]
    assert not torch.are_deterministic_algorithms_enabled()
    assert CUBLAS[0] not in os.environ
    monkeypatch.setenv(CUBLAS[0], ":16:8")
    with deterministic():
        assert os.environ[CUBLAS[0]] == ":16:8"  # as somebody chose it
    assert os.environ[CUBLAS[0]] == ":16:8"
