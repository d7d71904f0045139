"""Saliency maps of new images as files; a bad image is named and the rest goes on."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from harness.album import JPEG
from harness.blame import message_of
from harness.data.image_files import ImageFile, find_images
from harness.data.images import BadImageError, read_image
from harness.errors import NO_ROOM, DataError, ResultsError, SalprobeError
from harness.files import replacing
from harness.pictures import map_picture, overlay
from harness.predictions import ENCODERS, TOGETHER, MapWriter
from harness.predictions import FORMATS as WRITERS
from harness.shown import shown

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from numpy import ndarray

    from harness.predictor import Predictor
    from harness.progress import Progress
    from harness.types import Size

Formats = tuple[Literal["npy", "png"], ...]
OVERLAY = "_overlay.jpg"
LONGEST_JPEG = 65500
MUCH = 2.0
"""So many times larger or smaller than any training stimulus is worth a word."""


@dataclass(frozen=True)
class Wanted:
    """Which files are made of an image, which of all together, and where."""

    out: Path
    formats: Formats = ("npy", "png")
    overlays: bool = True
    overwrite: bool = False
    together: tuple[str, ...] = ()
    """Of `predictions.TOGETHER`."""

    def files(self, name: str) -> list[Path]:
        """What is made of the image of that name."""
        endings = [f".{format}" for format in self.formats] + ([OVERLAY] if self.overlays else [])
        return [self.out / f"{name}{ending}" for ending in endings]

    @property
    def whole(self) -> list[Path]:
        """What is made of all images together."""
        return [self.out / TOGETHER[format] for format in self.together]


@dataclass
class Predicted:
    """How it went."""

    done: int = 0
    failed: dict[Path, str] = field(default_factory=dict)
    """Why there is nothing of an image."""
    odd: dict[Path, Size] = field(default_factory=dict)
    """Images much larger or smaller than the training stimuli."""
    sizes: Counter[Size] = field(default_factory=Counter)


def images_for(places: Sequence[str], wanted: Wanted) -> list[ImageFile]:
    """The images of files, folders and globs; raises DataError for none, ResultsError where files would be lost."""
    images = find_images(places, leave_out=wanted.out)
    refuse_loss(images, wanted)
    return images


def refuse_loss(images: Sequence[ImageFile], wanted: Wanted) -> None:
    """Raises ResultsError where an image, or a file without leave, would be overwritten."""
    inputs = {image.path.resolve() for image in images}
    made = [file for image in images for file in wanted.files(image.name)] + wanted.whole
    there = [file for file in made if file.exists()]
    if lost := [file for file in there if file.resolve() in inputs]:
        raise ResultsError(f"{shown(lost[0])} is one of the images and would be overwritten; choose another --out")
    if there and not wanted.overwrite:
        raise ResultsError(
            f"{len(there)} files would be overwritten, the first is {shown(there[0])}; "
            "choose another --out or allow it with --overwrite"
        )


def predict_images(predictor: Predictor, images: Sequence[ImageFile], wanted: Wanted, progress: Progress) -> Predicted:
    """Write what is wanted of every image; raises ResultsError where nothing more can be written."""
    outcome = Predicted()
    try:
        wanted.out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files, progress.phase("predicting", len(images)) as bar:
            writers = [files.enter_context(WRITERS[format](wanted.out)) for format in wanted.together]
            for image in images:
                _try(predictor, image, wanted, writers, outcome, progress)
                bar.advance(1)
    except OSError as error:
        raise ResultsError(f"cannot write into {shown(wanted.out)}: {error.strerror}; choose another --out") from error
    return outcome


def _try(
    predictor: Predictor,
    image: ImageFile,
    wanted: Wanted,
    writers: Sequence[MapWriter],
    outcome: Predicted,
    progress: Progress,
) -> None:
    """Predict one image, or note why not; raises OSError where nothing can be written at all."""
    try:
        size = _predict(predictor, image, wanted, writers)
    except (SalprobeError, OSError, RuntimeError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        outcome.failed[image.path] = _reason(error)
        progress.say(f"{shown(image.path)}: {shown(_reason(error))}")
        return
    outcome.done += 1
    outcome.sizes[size] += 1
    if is_odd(predictor, size):
        outcome.odd[image.path] = size


def is_odd(predictor: Predictor, size: Size) -> bool:
    """Whether an image is much larger or smaller than every training stimulus, and enters the network so."""
    if predictor.trained_on is None or predictor.extractor is None or predictor.settings.size is not None:
        return False
    smallest, largest = (float(height * width) for height, width in predictor.trained_on)
    return not smallest / MUCH**2 <= size[0] * size[1] <= largest * MUCH**2


def _predict(predictor: Predictor, image: ImageFile, wanted: Wanted, writers: Sequence[MapWriter]) -> Size:
    pixels = read_image(image.path, image.name).permute(1, 2, 0).contiguous().numpy()
    plane = predictor.map(pixels)
    _write(dict(zip(wanted.files(image.name), _encoded(pixels, plane, wanted), strict=True)))
    for writer in writers:
        writer.add(image.name, image.id or 0, plane)
    return plane.shape[0], plane.shape[1]


def _encoded(pixels: UInt8[ndarray, "h w 3"], plane: Float[ndarray, "h w"], wanted: Wanted) -> Iterator[bytes]:
    """The files' contents, in the order of `Wanted.files`."""
    yield from (ENCODERS[format](plane) for format in wanted.formats)
    if wanted.overlays:
        if max(plane.shape) > LONGEST_JPEG:
            raise DataError(f"longer than the {LONGEST_JPEG} pixels of a JPEG; it works with --no-overlay")
        picture = Image.fromarray(pixels)
        buffer = io.BytesIO()
        overlay(picture, map_picture(plane, picture.size)).save(buffer, **JPEG)
        yield buffer.getvalue()


def _write(contents: Mapping[Path, bytes]) -> None:
    """All of an image's files or none: each takes its place only when all are written."""
    with ExitStack() as files:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            files.enter_context(replacing(path)).write_bytes(content)


def _reason(error: Exception) -> str:
    if isinstance(error, BadImageError):
        return error.reason
    if isinstance(error, OSError):
        return f"cannot be written: {error.strerror or error}"
    return message_of(error)
