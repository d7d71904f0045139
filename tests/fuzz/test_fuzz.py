"""Damaged and hostile input: every reader refuses it with a declared error, within seconds and without much memory.

SALPROBE_FUZZ=1000 tries so many inputs of each reader, other ones every time (`make fuzz`).
"""

from __future__ import annotations

import os
import resource
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings

from harness.errors import SalprobeError
from harness.shown import shown_lines
from tests.fuzz.readers import READERS

ASKED = int(os.environ.get("SALPROBE_FUZZ", "0"))
MEMORY = 2 * 2**30
"""More than this process has before: allocating beyond it raises MemoryError."""


@pytest.fixture(scope="module", autouse=True)
def _little_memory() -> Iterator[None]:
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (own + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", READERS)
def test_bad_input_is_refused_by_a_declared_error(name: str, tmp_path: Path) -> None:
    reader = READERS[name]

    @settings(
        max_examples=ASKED or 20,
        derandomize=not ASKED,
        deadline=timedelta(seconds=20),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(reader.inputs)
    def check(given_input: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                reader.read(given_input, tmp_path)
            except SalprobeError as error:
                event("refused")
                shown_lines(str(error)).encode()  # as the command line prints it

    check()
