"""`salprobe data ...`: what one has on the disk. Heavy libraries are imported inside the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="data", help="Look at data sets on this machine.", no_args_is_help=True)


@app.command("check")
def check_command(
    root: Annotated[Path, typer.Argument(help="A SALICON folder, as people unpack it.")],
    images: Annotated[bool, typer.Option("--images", help="Check every image file, too.")] = False,
) -> None:
    """Count images, gaze and released maps against the known totals, name what is unreadable, give the recipe lines."""
    from harness.data_check import check

    sys.exit(check(root, images=images))
