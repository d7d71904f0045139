"""What `salprobe predict` does: find the cell and the images, predict, say how it went."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from harness.data import salicon_test
from harness.data.image_files import ImageFile
from harness.errors import DataError, RecipeError, ResultsError
from harness.find_readout import find_cell
from harness.machine import choose_device
from harness.predict import Formats, Predicted, Wanted, images_for, predict_images, refuse_loss
from harness.predictions import TOGETHER
from harness.predictor import Predictor
from harness.progress import progress_for
from harness.recipe_overrides import override_key
from harness.shown import shown

if TYPE_CHECKING:
    from harness.progress import Progress

ONE_EACH: dict[str, Formats] = {"npy": ("npy",), "png": ("png",), "both": ("npy", "png")}
ALL_IN_ONE = ("zip", "salicon-json")
FORMATS = (*ONE_EACH, *ALL_IN_ONE)
LINEAR = "linear"
"""The recipe."""
FOR_LEADERBOARD = "png,salicon-json"


@dataclass(frozen=True)
class Asked:
    """Which images: files, folders and globs, or a dataset by name with its parameters."""

    places: Sequence[str] = ()
    dataset: str | None = None
    overrides: Sequence[str] = ()

    def check(self) -> None:
        """Raises RecipeError for none and for both."""
        if bool(self.places) == (self.dataset is not None):
            raise RecipeError(f"name images (files, folders, globs) or --dataset {salicon_test.NAME}, one of both")
        if self.dataset not in (None, salicon_test.NAME):
            raise RecipeError(
                f"--dataset {self.dataset}: predict knows {salicon_test.NAME}, whose images have no gaze; "
                "name the images of other datasets as files, folders or globs"
            )
        if self.overrides and self.dataset is None:
            raise RecipeError(f"--set {self.overrides[0]}: sets a parameter of --dataset, which is not there")


def best_linear(results: Path) -> str:
    """Where the packaged recipe of the best readouts left them; raises ResultsError where it was not run."""
    folder = results / LINEAR
    if not folder.is_dir():
        raise ResultsError(
            f"no --readout is named, and {folder} is not there: train the best readouts by "
            f"`salprobe run {LINEAR} --set dataset.root=FOLDER --out {results}`, or name another readout"
        )
    return str(folder)


def wanted_files(
    out: Path, format: str | None, *, overlays: bool | None, overwrite: bool, dataset: bool = False
) -> Wanted:
    """The command's options; raises RecipeError for an unknown format, ResultsError for an unusable folder.

    By default a dataset's maps are as its leaderboard takes them, those of other images are for looking at.
    """
    chosen = (format or (FOR_LEADERBOARD if dataset else "both")).split(",")
    for one in chosen:
        if one not in FORMATS:
            raise RecipeError(f"--format {one}: choose one of {', '.join(FORMATS)}, or several with commas")
        if one == "salicon-json" and not dataset:
            raise RecipeError(f"--format {one} needs the ids of a dataset's images (--dataset {salicon_test.NAME})")
    if out.exists() and not out.is_dir():
        raise ResultsError(f"--out {out} is a file; choose a folder")
    each = dict.fromkeys(one for name in chosen for one in ONE_EACH.get(name, ()))
    together = tuple(dict.fromkeys(name for name in chosen if name in ALL_IN_ONE))
    return Wanted(out, tuple(each), not dataset if overlays is None else overlays, overwrite, together)


def predict(readout: str, cell: str | None, asked: Asked, wanted: Wanted, device: str, results: Path) -> int:
    """Predict and return the exit code: 3 where an image failed."""
    console = Console()
    progress = progress_for(console)
    images = images_for(asked.places, wanted) if asked.dataset is None else _test_images(asked, wanted, progress)
    with tempfile.TemporaryDirectory(prefix="salprobe-") as name:
        folder, why = find_cell(readout, cell, results, Path(name))
        predictor = Predictor.load(folder, choose_device(device))
    progress.say(f"readout: {why or predictor.label} ({predictor.key})")
    outcome = predict_images(predictor, images, wanted, progress)
    _tell(console, predictor, outcome, wanted)
    if asked.dataset is not None:
        _tell_leaderboard(console, outcome, wanted)
    if outcome.failed:
        sys.stderr.write(f"error: {len(outcome.failed)} of {len(images)} images could not be predicted (named above)\n")
        return DataError.exit_code
    return 0


def _test_images(asked: Asked, wanted: Wanted, progress: Progress) -> list[ImageFile]:
    given: dict[str, Any] = {}
    for override in asked.overrides:
        override_key(given, override.removeprefix("dataset."))
    if unknown := set(given) - {"root", "info", "links"}:
        raise RecipeError(f"--set {min(unknown)}: {asked.dataset} has the parameters root, info and links")
    links = given.get("links", "inside")
    if links not in ("inside", "anywhere"):
        raise RecipeError(f"--set links={links}: choose inside or anywhere")
    root, info = (None if given.get(key) is None else str(given[key]) for key in ("root", "info"))
    if root is None:
        raise DataError("where is the dataset? --set root=FOLDER")
    found = salicon_test.find_test_images(root, info, links)
    images = [ImageFile(stimulus.file, stimulus.name, stimulus.id) for stimulus in found.stimuli]
    refuse_loss(images, wanted)
    known = "" if len(images) == salicon_test.KNOWN else f" of SALICON's {salicon_test.KNOWN:,}"
    progress.say(f"{asked.dataset}: {len(images):,}{known} test images in {shown(images[0].path.parent)}")
    if found.missing:
        progress.say(f"note: {len(found.missing)} listed images are not there, the first is {shown(found.missing[0])}")
    return images


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
    made += [file.name for file in wanted.whole]
    words = f"{outcome.done} images: {', '.join(made)} in {shown(wanted.out.resolve())}"
    console.print(words, soft_wrap=True, highlight=False, markup=False)


def _tell_leaderboard(console: Console, outcome: Predicted, wanted: Wanted) -> None:
    height, width = salicon_test.SIZE
    if others := sum(n for size, n in outcome.sizes.items() if size != salicon_test.SIZE):
        words = f"note: {others} maps are not {height}x{width}, as SALICON's own images and the leaderboard's maps are"
        console.print(words, soft_wrap=True, highlight=False, markup=False)
    if "zip" in wanted.together:
        words = f"to submit: {shown(wanted.out.resolve() / TOGETHER['zip'])}"
    else:
        words = "the leaderboard takes the PNGs in one zip: zip them, or add zip to --format"
    console.print(words, soft_wrap=True, highlight=False, markup=False)
