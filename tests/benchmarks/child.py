"""A function of a benchmark in a process of its own, with its peak memory."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import one_thread, peak_mib

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Ended:
    """What a fresh process came back with."""

    result: Any
    """What the function returned, by way of JSON."""
    peak_mib: float


def checkout() -> dict[str, str]:
    """The environment in which another process runs this checkout's code, not an installed copy's."""
    found = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found), "OMP_WAIT_POLICY": "PASSIVE"}


def in_fresh_process(module: str, function: str, **arguments: Any) -> Ended:
    """Call `module.function(**arguments)` with one thread in a process of its own; raises with its error output."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "tests.benchmarks.child", module, function, json.dumps(arguments), str(answer)]
        done = subprocess.run(command, cwd=ROOT, env=checkout(), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{module}.{function} ended with code {done.returncode}:\n{done.stderr[-4000:]}")
        return Ended(**json.loads(answer.read_text()))


def main() -> None:
    """The other side of `in_fresh_process`."""
    module, function, arguments, answer = sys.argv[1:]
    with one_thread():
        result = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    Path(answer).write_text(json.dumps({"result": result, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
