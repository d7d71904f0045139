"""A cell's small maps and the pictures made of them, in its own folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from harness.album import evenly, extremes, ranking
from harness.errors import SalprobeError
from harness.metric_registry import METRICS
from harness.results import BEST_AND_WORST, CONTACT_SHEET, MAPS
from harness.timing import Stopwatch

if TYPE_CHECKING:
    from pathlib import Path

    from harness.album import GrowingAlbum
    from harness.metrics import Metric
    from harness.recipe import Recipe
    from harness.results import CellResult
    from harness.small_maps import SmallMaps

log = logging.getLogger("salprobe")


def keep_maps(result: CellResult, maps: SmallMaps, album: GrowingAlbum, recipe: Recipe) -> None:
    """Write maps and pictures into the result's folder; a picture that cannot be drawn costs nothing else."""
    assert result.folder is not None
    if not len(maps):
        return
    watch = Stopwatch()
    with watch("draw"):
        maps.save(result.folder / MAPS)
        try:
            _draw(result, maps, album, recipe, result.folder)
        except (SalprobeError, OSError) as error:
            log.warning("%s: no pictures: %s", result.label, error)
    result.seconds |= watch.seconds


def keep_extremes(result: CellResult, metrics: Iterable[Metric], album: GrowingAlbum) -> None:
    """The images that are best and worst by any of the metrics, for a report that may show them."""
    for metric in metrics:
        for image_id, _ in extremes(ranking(result.per_image, metric)):
            with suppress(SalprobeError, OSError):
                album.stimulus(image_id)


def _draw(result: CellResult, maps: SmallMaps, album: GrowingAlbum, recipe: Recipe, folder: Path) -> None:
    """The same images for every cell, and this cell's best and worst by the metric that ranks."""
    title = f"{result.cell.dataset} · {result.label}"
    shown = [id_ for id_ in album.dataset.ids.tolist() if id_ in maps]
    album.draw(title, result.per_image, maps, evenly(shown, recipe.pictures), folder / CONTACT_SHEET)
    metric = METRICS.get(recipe.compare)
    ranked = ranking(result.per_image, metric)
    title += f": best and worst by {metric.name}"
    album.draw(title, result.per_image, maps, extremes(ranked), folder / BEST_AND_WORST)
