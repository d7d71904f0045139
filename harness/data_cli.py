"""`salprobe data ...`: what one has on the disk. Heavy libraries are imported inside the commands."""

from __future__ import annotations

import sys
from enum import StrEnum
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


class Form(StrEnum):
    """The general forms that readers take."""

    SALICON = "salicon"
    FOLDER = "folder"


class Images(StrEnum):
    """How images come into a converted dataset."""

    COPY = "copy"
    LINK = "link"
    LEAVE = "leave"


class TableFormat(StrEnum):
    """The table of the folder form."""

    PARQUET = "parquet"
    CSV = "csv"


@app.command("convert")
def convert_command(
    dataset: Named,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new or empty folder (with --images leave: theirs).")],
    to: Annotated[Form, typer.Option("--to", help="SALICON's annotation JSON, or images and a table.")],
    overrides: Overrides = None,
    plugins: Plugins = None,
    images: Annotated[
        Images, typer.Option("--images", help="Copy them, hard-link them, or leave them where they are below --out.")
    ] = Images.COPY,
    table: Annotated[TableFormat, typer.Option("--table", help="The table of --to folder.")] = TableFormat.PARQUET,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what this command wrote before.")] = False,
) -> None:
    """Write a dataset as SALICON JSON or as a folder with a table; the points stay what and whose they are."""
    from harness.data.convert import Conversion
    from harness.data_convert import convert
    from harness.paths import expanded

    how = Conversion(expanded(out).absolute(), to.value, images.value, table.value, overwrite)
    convert(dataset, overrides or [], plugins or [], how)


@app.command("get")
def get_command(
    name: Annotated[str, typer.Argument(help="A dataset, e.g. osie.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Its new folder; by default ./NAME.")] = None,
    url: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="Another git repository to get it from.")
    ] = None,
    commit: Annotated[str | None, typer.Option(help="The commit to fetch, all its digits.")] = None,
    sha256: Annotated[str | None, typer.Option(help="What the file with the gaze must have.")] = None,
    plugins: Plugins = None,
) -> None:
    """Fetch a public dataset, or say where to get it and under which terms; the same command continues or checks."""
    from harness.data_get import get

    for option, digits, lengths in (("--commit", commit, (40, 64)), ("--sha256", sha256, (64,))):
        if digits is not None and not (len(digits) in lengths and set(digits.lower()) <= set("0123456789abcdef")):
            raise typer.BadParameter(f"{option}: {' or '.join(map(str, lengths))} hexadecimal digits")
    sys.exit(get(name, out, url, commit and commit.lower(), sha256 and sha256.lower(), plugins or []))
