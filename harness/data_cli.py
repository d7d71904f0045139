"""`salprobe data ...`: what one has on the disk. Heavy libraries are imported inside the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="data", help="Look at data sets, convert and fetch them.", no_args_is_help=True)

Named = Annotated[str, typer.Argument(help="A recipe (its data) or a dataset's reader, as for salprobe score.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="e.g. dataset.root=FOLDER, or root=FOLDER for short."),
]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="A Python file with a reader of your own.")
]


@app.command("check")
def check_command(
    root: Annotated[Path, typer.Argument(help="A SALICON folder, as people unpack it.")],
    images: Annotated[bool, typer.Option("--images", help="Check every image file, too.")] = False,
) -> None:
    """Count images, gaze and released maps against the known totals, name what is unreadable, give the recipe lines."""
    from harness.data_check import check

    sys.exit(check(root, images=images))


@app.command("info")
def info_command(
    dataset: Named,
    overrides: Overrides = None,
    plugins: Plugins = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the picture.")] = Path("results"),
    picture: Annotated[bool, typer.Option("--picture/--no-picture", help="Draw centre bias and examples.")] = True,
) -> None:
    """Images, sizes, observers, points, licence and citation, and a picture of centre bias and example images."""
    from harness.data_info import info

    sys.exit(info(dataset, overrides or [], plugins or [], out if picture else None))
