"""`salprobe data get`: fetch a dataset that may be fetched, or say where it is to be had and under which terms."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from harness.data.dataset import DATASETS
from harness.data.fetch import Wanted, fetch
from harness.data_source import print_source
from harness.errors import DataError
from harness.paths import expanded
from harness.plugin_files import load_plugins
from harness.progress import progress_for
from harness.shown import shown

OK = 0


def get(
    name: str, out: Path | None, url: str | None, commit: str | None, sha256: str | None, plugins: Sequence[Path] = ()
) -> int:
    """The exit code: DataError's where there is nothing to fetch from; raises UnknownNameError, DataError."""
    load_plugins(plugins)
    console, source = Console(), DATASETS.get(name).source
    print_source(console, source)
    repository = source.repository if source is not None else None
    if repository is None:
        how = source.obtain if source is not None else ""
        words = f"how: {how}" if how else f"{name}: its reader does not say where to get it"
        console.print(words, highlight=False, markup=False, soft_wrap=True)
        console.print("nothing was downloaded", highlight=False)
        return DataError.exit_code
    # another source than the known one need not have the known commit
    pinned = commit or (repository.commit if url is None else None)
    wanted = Wanted(_absolute(url or repository.url), repository.gaze, pinned, sha256)
    folder = expanded(out or name).absolute()
    done = fetch(wanted, folder, progress_for(console))
    state = "here and unchanged" if done.was_here else f"fetched from {wanted.url}"
    lines = (
        f"{name}: {done.files:,} files, {state}, commit {done.commit}",
        f"{repository.gaze}: sha256 {done.sha256}",
        f"use it: salprobe run {repository.recipe} --set dataset.root={folder}",
    )
    for line in lines:
        console.print(shown(line), highlight=False, markup=False, soft_wrap=True)
    return OK


def _absolute(url: str) -> str:
    """A folder that is named from here stays the same one wherever git runs."""
    with suppress(OSError):  # a name that no file has
        if Path(url).exists():
            return str(Path(url).absolute())
    return url
