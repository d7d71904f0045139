"""`salprobe data convert`: any reader's dataset in a form that other people's tools take, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import yaml
from rich.console import Console

from harness.data.convert import Conversion
from harness.data.dataset import Split
from harness.data.source import OWN
from harness.data_source import plan_of, print_source
from harness.progress import progress_for
from harness.shown import shown
from harness.splits import read_split

if TYPE_CHECKING:
    from harness.data.dataset import DatasetReader


def convert(dataset: str, overrides: Sequence[str], plugins: Sequence[Path], how: Conversion) -> None:
    """Read both splits, write them, say what was written and how it is read; raises DataError."""
    console = Console()
    progress = progress_for(console)
    plan = plan_of(dataset, overrides, plugins)
    how.check()
    splits = [read_split(plan, split, progress) for split in get_args(Split)]
    done = how.write(splits, plan.reader.label, plan.reader.cited, progress)
    for remark in done.remarks:
        console.print(shown(remark), style="yellow", highlight=False, markup=False, soft_wrap=True)
    print_source(console, plan.reader.cited)
    entry = done.entry(plan.reader.label, _cited_as(plan.reader))
    text = yaml.safe_dump({"dataset": entry}, sort_keys=False, allow_unicode=True, width=1000)
    console.print(
        f"written: {shown(how.out)}\n\nrecipe lines:\n{text}", end="", highlight=False, markup=False, soft_wrap=True
    )


def _cited_as(reader: DatasetReader) -> str | None:
    """The name by which a recipe may cite the same source."""
    cite: str | None = getattr(reader, "cite", None)
    own = reader.cited is not None and reader.cited is not OWN
    return cite or (reader.name if own else None)
