"""What `salprobe predict` does: find the cell and the images, predict, say how it went."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.errors import DataError, RecipeError, ResultsError
from harness.find_readout import find_cell
from harness.machine import choose_device
from harness.predict import Formats, Predicted, Wanted, images_for, predict_images
from harness.predictor import Predictor
from harness.progress import progress_for
from harness.shown import shown

FORMATS: dict[str, Formats] = {"npy": ("npy",), "png": ("png",), "both": ("npy", "png")}


def wanted_files(out: Path, format: str, *, overlays: bool, overwrite: bool) -> Wanted:
    """The command's options; raises RecipeError for an unknown format, ResultsError for an unusable folder."""
    if format not in FORMATS:
        raise RecipeError(f"--format {format}: choose one of {', '.join(FORMATS)}")
    if out.exists() and not out.is_dir():
        raise ResultsError(f"--out {out} is a file; choose a folder")
    return Wanted(out, FORMATS[format], overlays, overwrite)


def predict(readout: str, cell: str | None, places: Sequence[str], wanted: Wanted, device: str, results: Path) -> int:
    """Predict and return the exit code: 3 where an image failed."""
    console = Console()
    progress = progress_for(console)
    images = images_for(places, wanted)
    with tempfile.TemporaryDirectory(prefix="salprobe-") as name:
        folder, why = find_cell(readout, cell, results, Path(name))
        predictor = Predictor.load(folder, choose_device(device))
    progress.say(f"readout: {why or predictor.label} ({predictor.key})")
    outcome = predict_images(predictor, images, wanted, progress)
    _tell(console, predictor, outcome, wanted)
    if outcome.failed:
        sys.stderr.write(f"error: {len(outcome.failed)} of {len(images)} images could not be predicted (named above)\n")
        return DataError.exit_code
    return 0


def _tell(console: Console, predictor: Predictor, outcome: Predicted, wanted: Wanted) -> None:
    if outcome.odd and predictor.trained_on is not None:
        path, size = next(iter(outcome.odd.items()))
        trained = " to ".join(dict.fromkeys(f"{height}x{width}" for height, width in predictor.trained_on))
        words = (
            f"note: {len(outcome.odd)} images are much larger or smaller than the training stimuli ({trained}), e.g. "
            f"{shown(path)} with {size[0]}x{size[1]}: the network sees things there at another scale than the readout "
            "learned from; resize them for maps to rely on"
        )
        console.print(words, soft_wrap=True, highlight=False, markup=False)
    kinds = {"npy": "npy (float32)", "png": "png (8 bit, each map scaled to 0..255)"}
    made = [kinds[format] for format in wanted.formats] + (["overlays"] if wanted.overlays else [])
    words = f"{outcome.done} images: {', '.join(made)} in {shown(wanted.out.resolve())}"
    console.print(words, soft_wrap=True, highlight=False, markup=False)
