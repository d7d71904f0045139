"""What benchmarks share: the run's options, the `publish` fixture, one thread, lines that are seen at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import published
from tests.benchmarks.machine import describe, one_thread
from tests.benchmarks.workload import Job

Say = Callable[[str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("benchmarks of this project")
    group.addoption("--publish-to", type=Path, help="folder whose benchmarks.json and .md take the results")
    group.addoption("--bench-images", default="256,64", help="training,held-out images of the matrix (256,64)")


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Say:
    """Print a line past pytest's capture: a benchmark of minutes shows that it is alive."""
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")

    def line(text: str) -> None:
        if reporter is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                reporter.ensure_newline()
                reporter.write_line(f"    {text}")
                reporter.flush()

    return line


@pytest.fixture
def publish(request: pytest.FixtureRequest, say: Say) -> Callable[..., None]:
    """publish(name, value, unit, goal, note=..., details=...): print the number; keep it where the run was asked to.

    Written at once, so an interrupted run keeps what it has measured.
    """
    folder: Path | None = request.config.getoption("--publish-to", None)

    def keep(
        name: str,
        value: float,
        unit: str,
        goal: str | None = None,
        *,
        note: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        one = published.entry(name, value, unit, goal, describe(), note=note, details=details)
        met = {True: f" (goal {goal}: met)", False: f" (goal {goal}: NOT met)", None: ""}
        say(f"{name} = {one['value']:g} {unit}".rstrip() + met[published.reached(value, goal)])
        if folder is not None:
            published.write(folder, [one])

    return keep


@pytest.fixture
def single() -> Iterator[None]:
    """One thread in this process."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def job(request: pytest.FixtureRequest) -> Job:
    """The matrix' images, as many as the run was asked for."""
    train, test = request.config.getoption("--bench-images", "256,64").split(",")
    return Job(int(train), int(test))
