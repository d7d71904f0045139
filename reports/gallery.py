"""What it looks like: images beside gaze and predictions, in one colour scale, as pictures within a page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from harness.album import JPEG, Album, Stimulus, evenly, extremes
from harness.files import make_folder, replacing
from harness.pictures import COLUMNS, SYNTHETIC_COLUMNS, contact_sheet, fitted, map_picture, overlay
from harness.small_maps import SmallMaps
from reports._board import backbone, label
from reports.comparisons import scores_of
from reports.study import Row, Study, by_depth

if TYPE_CHECKING:
    from harness.per_image import PerImage

LARGE, SMALL = 320, 150
"""Pixels on the longer side of a picture of the best cell, and of one among many."""
STRIPS, LINES = 6, 10
"""Images shown with the maps of all layers, and lines of maps each."""


@dataclass(frozen=True)
class Picture:
    """For an <img>; `score` is the ranking metric's of this map on this image."""

    source: str
    alt: str
    caption: str
    width: int
    height: int
    score: str = ""


@dataclass(frozen=True)
class Shown:
    """An image of the best cell: image, gaze, prediction, prediction over the image."""

    image_id: int
    note: str
    file: str
    scores: list[tuple[str, str]]
    pictures: list[Picture]


@dataclass(frozen=True)
class Strip:
    """One image as all layers see it: a line a network and probe, a column a layer set; None where there is no cell."""

    image_id: int
    note: str
    head: list[Picture]
    columns: list[str]
    lines: list[tuple[str, list[Picture | None]]]


@dataclass(frozen=True)
class Gallery:
    """All pictures of one run; `notes` say what is not there, and why."""

    cell: str = ""
    extremes: list[Shown] = field(default_factory=list)
    same: list[Shown] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Source:
    study: Study
    album: Album
    row: Row
    per_image: PerImage
    maps: SmallMaps

    @property
    def words(self) -> tuple[str, str]:
        """What image and gaze are called."""
        return SYNTHETIC_COLUMNS[:2] if self.study.synthetic else COLUMNS[:2]


def gallery(study: Study, folder: Path) -> tuple[Gallery, list[Path]]:
    """Of the best cell, and small ones of the others, and the sheet written into `folder`; says why there is none."""
    source = _source(study)
    if isinstance(source, str):
        return Gallery(notes=[source]), []
    kept = set(source.album.ids)
    ranked = source.per_image.ranked(study.by, higher_is_better=study.higher_is_better)
    wanted = extremes(ranked)
    found = [(image, note) for image, note in wanted if image in kept]
    if not found:  # ranked by a metric for which the run kept none
        found = extremes([image for image in ranked if image in kept])
    same = [(image, "") for image, _ in evenly(sorted(ranked), int(study.recipe.get("pictures", 6))) if image in kept]
    middle = [(image, note) for image, note in found if note in ("best 1", "median", "worst 1")]
    strips = list(dict([*middle, *((image, note) for image, note in same if image not in dict(middle))]).items())
    notes = [_substitutes(len(wanted), len(set(wanted) & set(found)))] * (set(found) != set(wanted))
    made = Gallery(
        label(source.row),
        [_shown(source, image, note) for image, note in found],
        [_shown(source, image, note) for image, note in same],
        list(_strips(source, strips[:STRIPS])),
        notes,
    )
    return made, [_sheet(source, found, folder)]


def _source(study: Study) -> _Source | str:
    album, row = study.album, study.best
    if album is None:
        return "The results folder has no pictures (stimuli/); a run with pictures > 0 keeps them."
    maps = study.maps(row) if row else None
    result = study.results.get(row["cell_key"]) if row else None
    if row is None or maps is None or result is None:
        return "The best cell left no maps behind; a run with pictures > 0 keeps them."
    return _Source(study, album, row, result.per_image, maps)


def _substitutes(wanted: int, there: int) -> str:
    if there:
        return f"Of the {wanted} best, middle and worst images {wanted - there} were not kept; they are left out."
    return "The best and worst images were not kept as pictures; shown are the best and worst of those that were."


def _shown(source: _Source, image_id: int, note: str) -> Shown:
    stimulus, by = source.album.stimulus(image_id), source.study.by
    photo = fitted(Image.fromarray(stimulus.image), LARGE)
    prediction = map_picture(source.maps[image_id], photo.size)
    names = (*source.words, *COLUMNS[2:])
    scores = source.per_image.score_of(image_id)
    own = f"{by.upper()} {scores[by]:.3f}"
    alts = (
        f"{names[0]} {image_id}",
        f"{names[1]} on image {image_id}",
        f"{label(source.row)} for image {image_id}, {own}",
        f"the same prediction laid over image {image_id}",
    )
    pictures = (photo, map_picture(stimulus.density, photo.size), prediction, overlay(photo, prediction))
    shown = [_picture(image, alt, name) for image, alt, name in zip(pictures, alts, names, strict=True)]
    told = [(name.upper(), _number(value)) for name, value in scores.items()]
    return Shown(image_id, note, stimulus.file, told, shown)


def _strips(source: _Source, chosen: Sequence[tuple[int, str]]) -> Iterator[Strip]:
    study = source.study
    lines = _lines(study)
    columns = list(dict.fromkeys(str(row["layers"]) for row in by_depth([r for _, rows in lines for r in rows])))
    maps = {row["cell_key"]: study.maps(row) for _, rows in lines for row in rows}
    for image_id, note in chosen:
        stimulus = source.album.stimulus(image_id)
        photo = fitted(Image.fromarray(stimulus.image), SMALL)
        made = []
        for name, rows in lines:
            cells = {str(row["layers"]): row for row in rows}
            places = [cells.get(column) for column in columns]
            made.append((name, [_small(study, row, maps, image_id, photo.size) if row else None for row in places]))
        yield Strip(image_id, note, list(_head(source, stimulus, photo)), columns, made)


def _lines(study: Study) -> list[tuple[str, list[Row]]]:
    """Networks and probes that read several layer sets, the best first; single cells where there are no such."""
    groups: dict[str, list[Row]] = {}
    for row in study.networks:
        groups.setdefault(f"{backbone(row)} · {row['probe']}", []).append(row)
    several = {name: rows for name, rows in groups.items() if len(rows) > 1}
    return list((several or groups).items())[:LINES]


def _head(source: _Source, stimulus: Stimulus, photo: Image.Image) -> Iterator[Picture]:
    image, gaze = source.words
    yield _picture(photo, f"{image} {stimulus.image_id}", image)
    yield _picture(map_picture(stimulus.density, photo.size), f"{gaze} on image {stimulus.image_id}", gaze)
    for which in ("floor", "ceiling"):
        row = source.study.bound(which)
        maps = {row["cell_key"]: source.study.maps(row)} if row else {}
        if row and (small := _small(source.study, row, maps, stimulus.image_id, photo.size, which)):
            yield small


def _small(
    study: Study,
    row: Row,
    maps: Mapping[str, SmallMaps | None],
    image_id: int,
    size: tuple[int, int],
    role: str = "",
) -> Picture | None:
    own = maps[row["cell_key"]]
    if own is None or image_id not in own:
        return None
    score = _number(scores_of(study, row, study.by).get(image_id, math.nan))
    caption = f"{role}: {row['probe']}" if role else str(row["layers"])
    alt = f"{label(row)} for image {image_id}, {study.by.upper()} {score}"
    return _picture(map_picture(own[image_id], size), alt, caption, score)


def _picture(image: Image.Image, alt: str, caption: str, score: str = "") -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=82, optimize=True)
    source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(source, alt, caption, *image.size, score)


def _sheet(source: _Source, chosen: Sequence[tuple[int, str]], folder: Path) -> Path:
    rows = list(source.album.rows(source.per_image, source.maps, chosen))
    path = folder / "gallery.jpg"
    make_folder(folder)
    with replacing(path) as temporary:
        contact_sheet(label(source.row), rows, synthetic=source.study.synthetic).save(temporary, **JPEG)
    return path


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"
