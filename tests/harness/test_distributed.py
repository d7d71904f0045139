"""Several processes against one: real torchrun, real gloo, on one machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import multiprocessing

from harness import distributed
from harness.results import read_cells, read_per_image
from tests.harness.test_run import TINY

RECIPE: dict[str, object] = {
    **TINY,
    "dataset": {**TINY["dataset"], "train": 11, "test": 5},
    "probes": [*TINY["probes"], {"name": "ridge", "centre": 0.5, "target": "root"}],
    "tracking": {"enabled": False},
}
"""Neither number of images is a multiple of 2 or 3."""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]


def write(folder: Path, **changes: object) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return file


def launch(processes: int, recipe: Path, out: Path, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """`torchrun --nproc-per-node=N -m harness run RECIPE`, or plain python for one process."""
    start = [sys.executable]
    if processes > 1:
        start += [*TORCHRUN, f"--nproc-per-node={processes}"]
    command = [*start, "-m", "harness", "run", str(recipe), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    done = launch(1, write(folder), folder)
    assert done.returncode == 0, done.stderr
    return folder / "tiny"


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_results_do_not_depend_on_the_number_of_processes(alone: Path, tmp_path: Path, processes: int) -> None:
    done = launch(processes, write(tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("results:") == 1  # only the main process speaks
    assert f"{processes} processes" in done.stdout
    one, many = (read_cells(folder).set_index("probe") for folder in (alone, tmp_path / "tiny"))
    assert list(one.cell_key) == list(many.cell_key)
    assert set(many.status) == {"finished"}
    metrics = [c for c in one.columns if f"{c}_ci_low" in one.columns]
    exact = one.index.isin(["centre", "uniform", "observers"]) | one.index.str.startswith("ridge")
    np.testing.assert_allclose(many.loc[exact, metrics], one.loc[exact, metrics], atol=1e-6)
    np.testing.assert_allclose(many.loc[~exact, metrics], one.loc[~exact, metrics], atol=1e-4)
    pd.testing.assert_frame_equal(
        read_per_image(tmp_path / "tiny")[["cell_key", "image_id", "unscored"]],
        read_per_image(alone)[["cell_key", "image_id", "unscored"]],
    )
    for key in one.cell_key[one.index.str.startswith("ridge")]:
        weights, others = (load_file(f / "cells" / key / "readout.safetensors") for f in (alone, tmp_path / "tiny"))
        scale = max(w.abs().max().item() for w in weights.values())
        for name, weight in weights.items():
            torch.testing.assert_close(others[name], weight, rtol=0, atol=1e-5 * scale)
    assert len(list((tmp_path / "tiny" / "cells").glob("*/contact_sheet.jpg"))) == len(many)


@pytest.mark.slow
def test_readouts_of_an_earlier_run_are_scored_anew_by_all_processes(alone: Path, tmp_path: Path) -> None:
    shutil.copytree(alone, tmp_path / "tiny")
    done = launch(2, write(tmp_path, metrics=["nss", "cc"]), tmp_path)
    assert done.returncode == 0, done.stderr
    one, many = (read_cells(folder).set_index(["layers", "probe"]) for folder in (alone, tmp_path / "tiny"))
    assert not set(one.cell_key) & set(many.cell_key)
    one, many = (cells[cells.backbone != "none"] for cells in (one, many))
    assert f"{len(one)} of {len(one)} cells: trained by an earlier run, only to be scored anew" in done.stdout
    np.testing.assert_allclose(many[["nss", "cc"]], one.loc[many.index, ["nss", "cc"]], atol=1e-6)


LETHAL = """
import os, signal
from harness import Probe, Trainer, probe

@probe("lethal")
class Lethal(Probe):
    def trainer(self, context):
        return LethalTrainer()

class LethalTrainer(Trainer):
    def update(self, batch):
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
    def sums(self):
        return ()
    def readout(self):
        raise AssertionError
"""
"""A probe whose process dies at its first batch."""


@pytest.mark.slow
def test_a_dead_process_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "lethal.py").write_text(LETHAL)
    (tmp_path / "go.py").write_text(
        "import lethal\nfrom harness.main import main\nmain()\n",
    )
    recipe = write(tmp_path, probes=["ridge", "lethal"])
    start = time.monotonic()
    command = [sys.executable, *TORCHRUN, "--nproc-per-node=2"]
    command += [str(tmp_path / "go.py"), "run", str(recipe), "--out", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode != 0
    assert "Signal 9" in done.stderr or "SIGKILL" in done.stderr
    assert time.monotonic() - start < 100


SLOW = """
import time, torch
from harness import Context, Probe, Trainer, probe
from harness._probe import Consumer
from harness.distributed import rank

class Slow(Consumer):
    def update(self, batch):
        pass
    def sums(self):
        time.sleep(4 * rank())
        return ({"a": torch.ones(3)},)

@probe("slow")
class SlowProbe(Probe):
    '''Its shared work adds up slowly in the second process.'''
    def trainer(self, context: Context):
        context.shared("slow", Slow)
        return SlowTrainer()

class SlowTrainer(Trainer):
    def readout(self):
        return lambda batch: batch.features["layer1"].mean(1)
"""


@pytest.mark.slow
def test_work_that_takes_too_long_in_one_process_fails_its_cells_in_all(tmp_path: Path) -> None:
    """The others neither wait for what has failed, nor is their waiting counted."""
    (tmp_path / "slow.py").write_text(SLOW)
    plugins = [str(tmp_path / "slow.py")]
    recipe = write(tmp_path, plugins=plugins, probes=["ridge", "slow"], cell_timeout_s=3.0, layers=["layer1"])
    done = launch(2, recipe, tmp_path, timeout=120)
    assert done.returncode == 1, done.stderr
    cells = read_cells(tmp_path / "tiny").set_index("probe")
    assert cells.status.to_dict() == {"ridge": "finished", "slow": "failed"}
    assert cells.error["slow"] == "took longer than 3 s (cell_timeout_s)"


@pytest.mark.slow
def test_an_error_of_one_process_is_shown_and_ends_the_run(tmp_path: Path) -> None:
    """The second training image, which the second process reads, is damaged after the dataset was checked."""
    from harness.data.demo import Demo

    train = Demo(train=11, test=5, height=96, width=128).read("train")
    damaged = tmp_path / "copy"
    damaged.mkdir()
    for file in train.files[0].parent.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    bad = damaged / train.files[1].name
    whole = bad.read_bytes()
    bad.write_bytes(whole[:400] + whole[-2:])  # its end is where it should be, so only decoding finds out
    annotations = train.files[0].parent.parent
    (tmp_path / "images").symlink_to(damaged)
    for name in ("fixations_train2014.json", "fixations_val2014.json"):
        (tmp_path / name).write_bytes((annotations / name).read_bytes())
    dataset = {"reader": "salicon", "root": str(tmp_path), "edition": "custom", "points": "fixations"}
    done = launch(2, write(tmp_path, dataset=dataset), tmp_path / "out", timeout=120)
    assert done.returncode != 0
    assert "error (process 1):" in done.stderr
    assert bad.name in done.stderr
    assert done.stderr.count("Traceback") <= 1  # torchrun's own


def _in_process(rank: int, size: int, rendezvous: str, out: str) -> None:
    os.environ |= {"WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size)}
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=size)
    cpu = torch.device("cpu")
    large, small = torch.full((600, 600), float(rank)), torch.tensor([rank, 1])
    mapping: dict[tuple[int, str], torch.Tensor] = {(rank, "mine"): torch.ones(2), (9, "all"): torch.ones(3)}
    tensors = [small.double(), large, small]
    distributed.add_up(tensors)
    distributed.add_up_mappings([mapping, {}], cpu)
    errors = {f"cell{rank}": f"error of {rank}", "both": f"said by {rank}"}
    distributed.agree(errors)
    order: list[int] = []
    first = distributed.main_first(lambda: order.append(rank) or rank)
    try:
        distributed.main_first(lambda: 1 / rank)  # only the first one fails
        raised = ""
    except ZeroDivisionError as error:
        raised = str(error)
    found = {
        "tensors": [t.sum().item() for t in tensors],
        "mapping": {str(key): value.tolist() for key, value in sorted(mapping.items())},
        "errors": errors,
        "mine": [row for row in range(10) if distributed.is_mine(row)],
        "first": first,
        "raised": raised,
        "gathered": distributed.gather(rank * 10),
    }
    Path(out, f"{rank}.yaml").write_text(yaml.safe_dump(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_add_up_and_agree(tmp_path: Path) -> None:
    size = 3
    arguments = (size, f"file://{tmp_path}/meet", str(tmp_path))
    multiprocessing.spawn(_in_process, arguments, nprocs=size)  # type: ignore[no-untyped-call]
    found = [yaml.safe_load((tmp_path / f"{rank}.yaml").read_text()) for rank in range(size)]
    for rank, one in enumerate(found):
        assert one["tensors"] == [3 + 3, 3 * 360_000, 3 + 3]
        assert one["mapping"] == {**{f"({r}, 'mine')": [1, 1] for r in range(size)}, "(9, 'all')": [3, 3, 3]}
        assert one["errors"] == {**{f"cell{r}": f"error of {r}" for r in range(size)}, "both": "said by 0"}
        assert one["first"] == rank
        assert one["raised"] == "division by zero"
        assert one["gathered"] == [0, 10, 20]
    assert sorted(row for one in found for row in one["mine"]) == list(range(10))


def test_one_process_is_the_identity() -> None:
    tensor = torch.ones(3)
    distributed.add_up([tensor])
    assert tensor.tolist() == [1, 1, 1]
    assert distributed.gather("me") == ["me"]
    assert distributed.main_first(lambda: 5) == 5
    assert all(distributed.is_mine(row) for row in range(4))
    assert (distributed.rank(), distributed.size(), distributed.is_main()) == (0, 1, True)
