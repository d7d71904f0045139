"""The command in forks of a process that has imported everything: a run begins at once, so that a signal at any moment
meets the run and not the imports. `Nursery` starts that process; this module is its program, too."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 240


@dataclass
class Child:
    """One start of the command, in one process or several."""

    nursery: Nursery
    pids: list[int]
    said: Path

    def wait(self) -> list[int]:
        """Exit codes, negative for the signal that ended a process, as subprocess has them."""
        self.nursery.tell("wait")
        return [os.waitstatus_to_exitcode(status) for status in self.nursery.answer()]

    def kill(self, number: int = signal.SIGKILL) -> None:
        for pid in self.pids:
            os.kill(pid, number)

    def wait_for(self, words: str) -> None:
        """Until it has said that."""
        end = time.monotonic() + PATIENCE_S
        while words not in self.text():
            assert time.monotonic() < end, self.text()
            time.sleep(0.01)

    def text(self) -> str:
        return self.said.read_text() if self.said.exists() else ""


class Nursery:
    """Starts children one after the other."""

    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
        environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE_S)
        self._process.stdout.close()

    def start(
        self,
        arguments: Sequence[str],
        said: Path,
        processes: int = 1,
        largest_file: int | None = None,
        **environment: str,
    ) -> Child:
        """`salprobe ARGUMENTS`, what it says into a file; it cannot write a larger file than that."""
        job: dict[str, Any] = {"arguments": list(arguments), "said": str(said), "processes": processes}
        job |= {"environment": environment, "largest_file": largest_file}
        self.tell(json.dumps(job))
        return Child(self, self.answer(), said)

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self) -> list[int]:
        assert self._process.stdout is not None
        found: list[int] = json.loads(self._process.stdout.readline())
        return found


def main() -> None:
    import mlflow
    import pyarrow.parquet  # noqa: F401
    import torch

    from harness import commands
    from harness.tracking.store import keep_quiet

    del mlflow, torch, commands
    keep_quiet()
    while line := sys.stdin.readline():
        job: dict[str, Any] = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pids = [_fork(job, rank, port) for rank in range(job["processes"])]
        print(json.dumps(pids), flush=True)
        sys.stdin.readline()  # until then who has ended is a zombie, and its number nobody else's
        print(json.dumps([os.waitpid(pid, 0)[1] for pid in pids]), flush=True)


def _fork(job: dict[str, Any], rank: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.close(0)
    os.environ |= job["environment"]
    if job["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"],) * 2)
    if job["processes"] > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job["processes"], "LOCAL_WORLD_SIZE": job["processes"]}
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ |= {key: str(value) for key, value in {**place, **meeting}.items()}
    sys.argv = ["salprobe", *job["arguments"]]
    code: Any = 1
    try:
        from harness.main import main as command

        command()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    main()
