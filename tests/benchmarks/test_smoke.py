"""Every benchmark's work at toy size, in the normal suite, so that benchmarks do not rot. Nothing here is timed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.benchmarks import annotations, mat_files, neighbours
from tests.benchmarks.growth import measured_in_fresh_process
from tests.benchmarks.machine import describe, one_thread
from tests.benchmarks.matrix import RIDGE, WITH_SGD, Ratios
from tests.benchmarks.peers import MSE, naive_loop, our_training
from tests.benchmarks.scikit import ridge_difference, sklearn_ridge, sklearn_sgd
from tests.benchmarks.sides import peak_of
from tests.benchmarks.startup import seconds_of
from tests.benchmarks.workload import Job

TOY = Job(8, 3, 96, 128, real=False, layers=("stem", ["stem", "layer1"]))


@pytest.mark.slow
def test_matrix_over_forward() -> None:
    ratios = Ratios(TOY)
    for probes in (RIDGE, WITH_SGD):
        whole = ratios.measure(probes, "fp32")
        assert whole.value > 0
        assert math.isclose(sum(whole.matrix.phases.values()), whole.matrix.seconds, rel_tol=0.05)
        assert {"decode", "forward", "fit", "solve", "calibrate", "score", "read_and_write"} <= set(whole.matrix.phases)
    assert len(ratios.forwards) == 1
    assert ratios.measure(RIDGE, "bf16", 0.5).forward.network > 0


def test_a_generated_annotation_file_is_read_whole(tmp_path: Path) -> None:
    points = annotations.generate(tmp_path / "a.json", images=3)
    assert annotations.read(str(tmp_path / "a.json"))["points"] == points


def test_generated_mat_files_are_read_whole(tmp_path: Path) -> None:
    points = mat_files.generate(tmp_path, {"train": 3, "val": 2}, distinct=2)
    assert mat_files.read(str(tmp_path))["points"] == points
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fixations"]


@pytest.mark.parametrize("name", neighbours.IMAGES)
def test_generated_neighbours_are_read_whole(tmp_path: Path, name: str) -> None:
    neighbours.generate(tmp_path, name, images=10)
    result = neighbours.read(str(tmp_path), name)
    assert result["images"] == 10
    assert result["points"] > 10 * 15 * 5


def test_one_thread_is_one_thread() -> None:
    import torch
    from threadpoolctl import threadpool_info

    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        assert describe().endswith(", 1 thread")
    assert torch.get_num_threads() == before


def test_naive_loop_is_scaled_to_all_images_and_epochs() -> None:
    peer = naive_loop(TOY, measured=4)
    assert peer.details == {"probes": 4, "measured_images": 4, "scaled_by": 10.0}
    assert our_training(TOY, MSE) > 0


@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")  # the smallest alphas, on a toy
def test_scikit_learn_finds_the_same_ridge(tmp_path: Path) -> None:
    our_training(TOY, ("ridge",), tmp_path)
    difference = ridge_difference(TOY, tmp_path / "benchmark", "stem+layer1")
    assert max(difference.values()) < 1e-3
    fits = sklearn_ridge(TOY, budget_s=1e-9).details["scikit_learn_by_layer_set"]
    assert set(fits) == {"stem", "stem+layer1"}
    assert {(row["fits"], row["fits_run"]) for row in fits.values()} == {(46, 1)}
    assert set(sklearn_sgd(TOY).details["scikit_learn_by_layer_set"]) == set(fits)


@pytest.mark.slow
def test_growth_and_memory_come_from_fresh_processes() -> None:
    row = measured_in_fresh_process(8, size=(96, 128), layers=["stem"])
    assert row["images"] == 8
    assert row["ms_per_image_with_fixed_costs"] > row["ms_per_image"] > 0
    assert 100 < row["peak_memory_mib"] < 4000
    assert peak_of(TOY, "naive", measured=2) > 100


def test_startup() -> None:
    assert seconds_of("--help") > 0
