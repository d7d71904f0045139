"""Several processes that score a share of the images each against one that scores them all, to the bit."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import spawn

from harness.evaluation import evaluate
from harness.metric_registry import METRICS
from harness.progress import Silent
from harness.readout import MapReadout
from harness.results import ResultsFolder
from harness.stream import Stream, StreamSettings
from tests.harness.test_ground_truth import SIZES, make_dataset
from tests.harness.test_per_image import end

CPU = torch.device("cpu")
IMAGES = 11


def scored(folder: Path) -> dict[str, Any]:
    """All that a run shows of two readouts on images of three sizes, some without a fixation."""
    stream = Stream(make_dataset(3, IMAGES, SIZES), StreamSettings(seed=1), CPU)
    random = torch.Generator().manual_seed(0)
    readouts = {"random": MapReadout(torch.rand(4, 5, generator=random)), "constant": MapReadout(torch.zeros(4, 5))}
    metrics = [METRICS.get(name) for name in ("cc", "sim", "nss", "auc", "sauc")]
    found = evaluate(readouts, stream, metrics, Silent(), keep_maps=True)
    if dist.is_initialized() and dist.get_rank() > 0:
        return {}
    results = ResultsFolder(folder)
    for key, scores in found.items():
        end(results, key, scores.per_image)
    results.flush()
    return {
        key: {
            "rows": str(list(scores.per_image)),
            "counts": list(scores.per_image.reasons().items()),
            "means": str(scores.means(metrics)),
            "constant": scores.n_constant,
            "maps": {name: array.tolist() for name, array in scores.maps.arrays().items()},
        }
        for key, scores in found.items()
    }


def work(rank: int, processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes)
    try:
        found = scored(Path(folder) / str(rank))
        Path(folder, f"{rank}.pickle").write_bytes(pickle.dumps(found))
        dist.barrier()  # nobody leaves while others still speak to him
    finally:
        dist.destroy_process_group()
    os._exit(0)  # torch's threads now and then abort an interpreter that ends in the usual way


@pytest.mark.slow
def test_three_processes_score_as_one(tmp_path: Path) -> None:
    spawn(work, (3, str(tmp_path)), nprocs=3)
    alone = scored(tmp_path / "alone")
    together = pickle.loads((tmp_path / "0.pickle").read_bytes())  # noqa: S301
    assert together.keys() == alone.keys()
    for key, facts in alone.items():
        for name, fact in facts.items():
            assert together[key][name] == fact, f"{key}, {name}"
    assert len(alone["constant"]["counts"]) > 1
    tables = [(tmp_path / place / "per_image.parquet").read_bytes() for place in ("alone", "0")]
    assert tables[0] == tables[1]
