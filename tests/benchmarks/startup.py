"""Wall time of a command of the installed program, as a person waits for it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.child import ROOT, checkout


def command() -> list[str]:
    """`salprobe` beside this interpreter, or `python -m harness` where it is not installed."""
    script = Path(sys.executable).with_name("salprobe")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "harness"]


def seconds_of(*arguments: str) -> float:
    """One run of the command in this checkout; raises where it fails."""
    start = time.perf_counter()
    subprocess.run([*command(), *arguments], check=True, capture_output=True, cwd=ROOT, env=checkout())
    return time.perf_counter() - start
