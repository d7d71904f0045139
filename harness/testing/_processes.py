"""A probe trained by two processes that share the images: real processes, real gloo, on this machine."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from harness import distributed
from harness._probe import PROBES, Probe
from harness.plan import build
from harness.plugin_files import PREFIX, file_of, load_plugins
from harness.recipe import Entry
from harness.testing._checks import FailedError, SkippedError
from harness.testing._synthetic import joined, maps_of, stream, train

SIZE = 2
PATIENCE_S = 300


class Job(TypedDict):
    """How another process finds a probe."""

    name: str
    parameters: dict[str, object]
    module: str | None
    plugin: str | None


def job_for(probe: Probe) -> Job:
    """Skips for a class that no other process can import."""
    cls, file = type(probe), file_of(probe)
    by_name = probe.name in PROBES.names() and PROBES.get(probe.name) is cls
    if not by_name or (file is None and ("<locals>" in cls.__qualname__ or cls.__module__ == "__main__")):
        raise SkippedError("another process cannot import it: put the probe into a file or a package")
    module = None if cls.__module__.startswith(PREFIX) else cls.__module__
    parameters = json.loads(json.dumps(dataclasses.asdict(probe)))  # type: ignore[call-overload]
    return Job(name=probe.name, parameters=parameters, module=module, plugin=str(file) if file else None)


def train_in_processes(jobs: Sequence[Job]) -> list[Tensor | str]:
    """For each job the held-out maps, or the error in words."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "jobs.json").write_text(json.dumps(jobs))
        port = _free_port()
        running = [_start(rank, port, Path(folder)) for rank in range(SIZE)]
        try:
            codes = [process.wait(timeout=PATIENCE_S) for process in running]
        except subprocess.TimeoutExpired:
            words = f"two processes were not ready after {PATIENCE_S} s: does one wait for the other?"
            raise FailedError(words) from None
        finally:
            for process in running:
                process.kill()
        for rank, code in enumerate(codes):
            if code:
                said = (Path(folder) / f"{rank}.txt").read_text().strip().splitlines() or ["it said nothing"]
                raise FailedError(f"one of two processes died: {said[-1]}")
        found: list[Tensor | str] = torch.load(Path(folder) / "found.pt", weights_only=True)
    return found


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _start(rank: int, port: int, folder: Path) -> subprocess.Popen[bytes]:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": SIZE, "LOCAL_WORLD_SIZE": SIZE}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    environment = {**os.environ, **{key: str(value) for key, value in {**place, **meeting}.items()}}
    environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    # out by the short way: when Python has ended, torch's threads now and then abort a process that has done its work
    code = f"import os; from harness.testing._processes import work; work({str(folder)!r}); os._exit(0)"
    with (folder / f"{rank}.txt").open("wb") as said:
        return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=said, stderr=said)


def work(path: str) -> None:
    """What each process does."""
    folder = Path(path)
    jobs: list[Job] = json.loads((folder / "jobs.json").read_text())
    with distributed.processes():
        found = [_maps(job) for job in jobs]
        if distributed.is_main():
            torch.save(found, folder / "found.pt")


def _maps(job: Job) -> Tensor | str:
    """The same in all processes: what fails in one fails in all."""
    if job["plugin"]:
        load_plugins([job["plugin"]])
    elif job["module"]:
        importlib.import_module(job["module"])
    probe = build(PROBES, Entry(name=job["name"], **job["parameters"]), job["name"])
    try:
        readout = train(probe, stream()).readout
    except FailedError as error:
        return str(error)
    mine = maps_of(readout, stream("test"))
    return joined({id_: map_ for part in distributed.gather(mine) for id_, map_ in part.items()})
