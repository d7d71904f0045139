"""What a run shows while it works: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from harness.shown import shown_lines


class Bar(Protocol):
    """A phase under way."""

    def advance(self, n: int) -> None:
        """So many more are done."""


class Progress(Protocol):
    """Shows the phases of a run."""

    @contextmanager
    def phase(self, name: str, total: int, unit: str = "images") -> Iterator[Bar]:
        """A phase of `total` units."""

    def say(self, message: str) -> None:
        """A line that stays."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Units per second."""
        return Text(f"{task.speed:.1f} {task.fields['unit']}/s" if task.speed else "")


class LiveProgress:
    """One bar a phase: description, done of total, images/s, time left."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def phase(self, name: str, total: int, unit: str = "images") -> Iterator[Bar]:
        """Draw the bar; it stays on the screen when the phase is over."""
        columns = (TextColumn("{task.description:<30}"), BarColumn(24), MofNCompleteColumn(), _Rate())
        with RichProgress(*columns, TimeRemainingColumn(elapsed_when_finished=True), console=self.console) as bars:
            task = bars.add_task(name, total=total, unit=unit)
            yield _LiveBar(bars, task)

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self.console.print(shown_lines(message), highlight=False, markup=False)


class _LiveBar:
    def __init__(self, bars: RichProgress, task: object) -> None:
        self._bars, self._task = bars, task

    def advance(self, n: int) -> None:
        self._bars.advance(self._task, n)  # type: ignore[arg-type]


class PlainProgress:
    """A line when a phase begins, every `every` seconds, and when it ends."""

    def __init__(self, console: Console, every: float = 10.0) -> None:
        self.console, self.every = console, every

    @contextmanager
    def phase(self, name: str, total: int, unit: str = "images") -> Iterator[Bar]:
        """Print the phase's lines."""
        self.say(f"{name}: {total} {unit}")
        bar = _PlainBar(self, name, total, unit)
        yield bar
        seconds = time.perf_counter() - bar.start
        self.say(f"{name}: done in {seconds:.1f} s ({bar.done / max(seconds, 1e-9):.1f} {unit}/s)")

    def say(self, message: str) -> None:
        """Print a line."""
        self.console.print(shown_lines(message), highlight=False, markup=False, soft_wrap=True)


class _PlainBar:
    def __init__(self, progress: PlainProgress, name: str, total: int, unit: str) -> None:
        self.progress, self.name, self.total, self.unit = progress, name, total, unit
        self.start = self.last = time.perf_counter()
        self.done = 0

    def advance(self, n: int) -> None:
        self.done += n
        now = time.perf_counter()
        if now - self.last >= self.progress.every and self.done < self.total:
            rate = self.done / (now - self.start)
            left = (self.total - self.done) / rate
            self.progress.say(f"{self.name}: {self.done}/{self.total}, {rate:.1f} {self.unit}/s, {left:.0f} s left")
            self.last = now


class Silent:
    """Shows nothing: for library use and tests."""

    @contextmanager
    def phase(self, name: str, total: int, unit: str = "images") -> Iterator[Bar]:
        """Show nothing."""
        yield _SilentBar()

    def say(self, message: str) -> None:
        """Say nothing."""


class _SilentBar:
    def advance(self, n: int) -> None:
        pass


NO_BAR: Bar = _SilentBar()
"""For work that is over before a bar could be read."""


def progress_for(console: Console) -> Progress:
    """Live bars where the console is a terminal, plain lines elsewhere."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
