"""A results folder belongs to one run at a time, whatever becomes of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import BusyError, ResultsError
from harness.lock import LOCK, locked
from harness.overwrite import Overwrite
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.run import run
from tests.harness.test_run import TINY

HOLD = "import sys, time\nfrom pathlib import Path\nfrom harness.lock import locked\n" + (
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
)


def test_the_second_run_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    with locked(folder):
        with pytest.raises(BusyError) as refused:
            run(make_plan(parse_recipe(TINY)), tmp_path, Silent())
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert re.search(rf"process {os.getpid()} on \S+, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", str(refused.value))
    assert str(folder) in str(refused.value)
    assert refused.value.exit_code == 10
    with locked(folder):  # given back
        pass
    assert not (folder / LOCK).exists()


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match=f"process {holder.pid} "), locked(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


@pytest.mark.parametrize("held", ["cells.parquet", "cells", "state"])
def test_never_leaves_results_alone(tmp_path: Path, held: str) -> None:
    (tmp_path / "tiny" / held).mkdir(parents=True)
    with pytest.raises(ResultsError, match="--overwrite missing goes on"):
        run(make_plan(parse_recipe(TINY)), tmp_path, Silent(), overwrite=Overwrite.NEVER)
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == [held]
