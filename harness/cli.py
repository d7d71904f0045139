"""The command line. Heavy libraries are imported inside the commands, so that help answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.data_cli import app as data_app
from harness.overwrite import Overwrite

app = typer.Typer(
    name="salprobe",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.add_typer(data_app)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"salprobe {metadata.version('salience-probe')}")
        raise typer.Exit


@app.callback()
def salprobe(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """How much of where humans look can be read out linearly from a frozen network?"""


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for results and the local MLflow store.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key, e.g. backbones.0.weights=random."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE.py", help="A Python file with probes, backbones, ... of your own; repeat."),
]


@app.command("run")
def run_command(
    recipe: Annotated[str, typer.Argument(help="A packaged recipe by name, or a .yaml file.")],
    out: Out = Path("results"),
    overrides: Overrides = None,
    plugins: Plugins = None,
    limit: Annotated[int | None, typer.Option(help="Use only N training and N held-out images.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print cells, passes and memory; run nothing.")] = False,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Log to MLflow.")] = True,
    overwrite: Annotated[
        Overwrite,
        typer.Option(help="Finished cells of an earlier run: reused, all computed again, or refused."),
    ] = Overwrite.MISSING,
) -> None:
    """Run a benchmark matrix: train every probe on one stream, score it, log it. Run again, it goes on."""
    speaks = os.environ.get("RANK", "0") == "0"  # of several processes the main one
    if speaks:
        typer.echo(f"salprobe: {recipe}")  # at once: torch takes seconds to import
    from harness import commands

    chosen = [*(overrides or [])]
    chosen += [f"limit={limit}"] if limit is not None else []
    chosen += [f"device={device}"] if device is not None else []
    chosen += [] if track else ["tracking.enabled=false"]
    if not dry_run:
        sys.exit(commands.run_recipe(recipe, chosen, out, plugins or [], overwrite))
    if speaks:
        commands.dry_run(recipe, chosen, plugins or [])


@app.command("list")
def list_command(
    kind: Annotated[str, typer.Argument(help="probes, backbones, datasets, metrics or recipes.")],
    names: Annotated[list[str] | None, typer.Argument(help="Only these, with their parameters.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the parameters of all.")] = False,
    plugins: Plugins = None,
) -> None:
    """List what can stand in a recipe."""
    from harness import listing

    listing.show(kind, names or (), verbose, plugins or [])


@app.command("check")
def check_command(
    name: Annotated[str, typer.Argument(help="A probe, backbone, dataset or metric by name.")],
    kind: Annotated[str | None, typer.Option(help="probe, backbone, dataset or metric, where several have it.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter, e.g. weights=random.")
    ] = None,
    plugins: Plugins = None,
    processes: Annotated[bool, typer.Option("--processes/--no-processes", help="Train in two processes, too.")] = True,
) -> None:
    """Check that a plugin keeps its contract: determinism, shapes, batches, saving, no held-out data, ..."""
    from harness import check

    sys.exit(check.check(name, kind, parameters or [], plugins or [], processes=processes))


@app.command("self-check")
def self_check_command(out: Out = Path("results"), overrides: Overrides = None, plugins: Plugins = None) -> None:
    """Check the scoring itself: predictors whose scores theory knows, on generated data or (by --set) on yours."""
    from harness import commands

    sys.exit(commands.self_check(overrides or [], out, plugins or []))


@app.command("new")
def new_command(
    kind: Annotated[str, typer.Argument(help="probe, backbone, dataset or metric.")],
    name: Annotated[str, typer.Argument(help="What recipes will call it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder in which the package is made.")] = Path(),
) -> None:
    """Write a small package with a plugin of your own: pip install -e it, pytest is green, then edit."""
    from harness.new_plugin import write_package

    folder = write_package(kind, name, out)
    typer.echo(f"{folder}: now pip install -e {folder}, then pytest {folder}")


@app.command("ui")
def ui_command(
    out: Out = Path("results"),
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to serve on; by default nobody else gets in.")] = "127.0.0.1",
) -> None:
    """Start the MLflow UI on the store of a results folder, with a link for every matrix in it."""
    from harness import commands

    sys.exit(commands.start_ui(out, port, host))


@app.command("track")
def track_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, e.g. results/osie.")],
    uri: Annotated[
        str | None, typer.Option(help="The MLflow store or server; by default where the run would have logged.")
    ] = None,
) -> None:
    """Log finished runs to MLflow, from their files: what was not written, or another store."""
    from harness import commands

    commands.track(folders, uri)


@app.command("report")
def report_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, e.g. results/osie.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the report goes.")] = Path("report"),
    by: Annotated[
        str | None, typer.Option("--by", metavar="METRIC", help="Rank cells and images by it; else as the recipe says.")
    ] = None,
) -> None:
    """Write one page that shows one or several runs (index.html), their leaderboard and every figure as files."""
    from harness import commands

    commands.write_report(folders, out, by)


@app.command("compare")
def compare_command(
    folders: Annotated[list[Path], typer.Argument(help="One or two folders of runs, e.g. results/osie.")],
    cells: Annotated[
        list[str] | None,
        typer.Option("--cell", "-c", help='A cell by key or label, or part of it: "layer3 ridge"; twice for one run.'),
    ] = None,
) -> None:
    """Test one cell against another, image by image on every metric: two of a run, or one each of two runs."""
    from harness import commands

    commands.compare(folders, cells or [])


@app.command("score")
def score_command(
    predictions: Annotated[
        Path,
        typer.Option("--predictions", "-p", help="A folder of maps, one .npz or .zip, or a SALICON results .json."),
    ],
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="A recipe (its data and metrics) or a dataset.")],
    overrides: Overrides = None,
    plugins: Plugins = None,
    out: Out = Path("results"),
    name: Annotated[str | None, typer.Option(help="What to call the maps; by default as their folder.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use only N held-out images.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse maps of another size, do not resize them.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Count images without a map as unscored.")
    ] = False,
    density: Annotated[
        bool, typer.Option("--density", help="The maps are densities: compute information gain, too.")
    ] = False,
) -> None:
    """Score maps made by any model with the evaluation of `run`; png, jpg, tiff, npy or npz, named like the images."""
    from harness import commands
    from harness.plugin_files import load_plugins

    load_plugins(plugins or [])
    chosen = [*(overrides or []), *([f"limit={limit}"] if limit is not None else [])]
    how = {"strict": strict, "allow_missing": allow_missing, "density": density}
    sys.exit(commands.score_maps(predictions, dataset, chosen, out, name, **how))


@app.command("export")
def export_command(
    folder: Annotated[Path, typer.Argument(help="The folder of a run, e.g. results/osie.")],
    cell: Annotated[str, typer.Option("--cell", "-c", help='A cell by key or label, or part of it: "layer3 ridge".')],
    out: Annotated[Path, typer.Option("--out", "-o", help="An empty or new folder for the maps.")],
    format: Annotated[
        str, typer.Option("--format", "-f", help="npy, npz, png, tiff, zip (of png) or salicon-json.")
    ] = "npy",
    overrides: Overrides = None,
    plugins: Plugins = None,
) -> None:
    """Write a finished cell's maps on the held-out images, at the images' own resolution."""
    from harness import commands

    commands.export_maps(folder, cell, format, out, overrides or [], plugins or [])


@app.command("predict")
def predict_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the maps.")],
    images: Annotated[
        list[str] | None, typer.Argument(help="Image files, folders (with all below them) or globs.")
    ] = None,
    readout: Annotated[
        str | None,
        typer.Option(
            "--readout",
            "-r",
            help="A results folder, a cell's folder, an MLflow run id, runs:/..., models:/... "
            "By default the best of the recipe linear: what it left in --results.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="salicon-test with --set root=FOLDER, in place of images.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter of --dataset: root, info.")
    ] = None,
    cell: Annotated[
        str | None, typer.Option("--cell", "-c", help='Of a results folder: "layer3 ridge"; by default the best cell.')
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="npy, png, both, zip (of png), salicon-json; several with commas. Default: both, "
            "with --dataset png,salicon-json.",
        ),
    ] = None,
    overlays: Annotated[
        bool | None, typer.Option("--overlay/--no-overlay", help="Each map laid over its image (not with --dataset).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    results: Annotated[Path, typer.Option(help="Folder with the MLflow store of a run id or URI.")] = Path("results"),
) -> None:
    """Saliency maps and overlays for new images of any size, from a finished cell."""
    from harness import predict_command

    asked = predict_command.Asked(images or (), dataset, overrides or ())
    asked.check()
    wanted = predict_command.wanted_files(
        out, format, overlays=overlays, overwrite=overwrite, dataset=dataset is not None
    )
    found = readout or predict_command.best_linear(results)
    sys.exit(predict_command.predict(found, cell, asked, wanted, device, results))


@app.command("doctor")
def doctor_command(out: Out = Path("results")) -> None:
    """Check versions, devices, weights, plugins and whether results can be written."""
    from harness import doctor

    sys.exit(doctor.show(out))
