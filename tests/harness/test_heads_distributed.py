"""Heads trained by several processes, each with some of the images, against the same heads trained by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import spawn

from harness import distributed
from harness.heads import HeadBank, LinearHead, MapHead, Training
from tests.harness.batches import LAYERS
from tests.harness.plain_heads import add, batches, image, train

CPU = torch.device("cpu")
MIX = (
    (LinearHead(LAYERS), Training("mse", 3, 0.05, 4, 0.0, "adam")),
    (LinearHead(LAYERS[:1]), Training("kl", 2, 0.05, 4, 0.1, "sgd")),
    (MapHead(LAYERS, (4, 5)), Training("kl", 2, 0.05, 3, 0.0, "adam")),
    (LinearHead(LAYERS[1:]), Training("mse", 1, 0.05, 1, 0.0, "adam")),  # all but one process have nothing in a step
)
SCENARIOS = {
    "ten images, whole batches": (10, (), 10),
    "uneven batches": (10, (), 2),
    "some images skipped": (10, (1, 4, 5, 6, 7, 9), 3),
    "fewer images than processes": (2, (), 3),
}
Learnt = list[dict[str, Any]]


def learn(n_images: int, skipped: tuple[int, ...], per_batch: int) -> Learnt:
    """Train the mix on this process' images; what a bank's owner does between passes is done here."""
    mine = [image(t) for t in range(n_images) if t not in skipped and distributed.is_mine(t)]
    bank = HeadBank(n_images, CPU)
    runs = [add(bank, *head) for head in MIX]
    train(bank, batches(mine, per_batch))
    return [{**run.weights, "bias": run.bias, "step": run.step_loss, "epoch": run.epoch_loss} for run in runs]


def work(rank: int, processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes)
    try:
        torch.save({name: learn(*scenario) for name, scenario in SCENARIOS.items()}, f"{folder}/{rank}.pt")
        dist.barrier()  # nobody leaves while others still speak to him
    finally:
        dist.destroy_process_group()
    os._exit(0)  # torch's threads now and then abort an interpreter that ends in the usual way


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_learns_the_same(processes: int, tmp_path: Path) -> None:
    spawn(work, (processes, str(tmp_path)), nprocs=processes)
    expected = {name: learn(*scenario) for name, scenario in SCENARIOS.items()}
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(processes)]
    for name, heads in expected.items():
        for index, head in enumerate(heads):
            for key, value in head.items():
                theirs = [one[name][index][key] for one in found]
                torch.testing.assert_close(theirs[0], value, rtol=1e-5, atol=1e-5, msg=f"{name}, head {index}, {key}")
                for other in theirs[1:]:
                    torch.testing.assert_close(other, theirs[0], rtol=0, atol=0)
