"""The images that the best readout fails on, beside what people looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.album import JPEG
from harness.errors import ResultsError
from harness.files import replacing
from harness.pictures import contact_sheet
from reports._board import label
from reports.study import Study
from reports.writeup.choices import CC

if TYPE_CHECKING:
    from harness.per_image import PerImage

WORST, NAME = 5, "worst.jpg"


def failing(scores: PerImage) -> list[int]:
    """The images with the lowest CC, the lowest first."""
    return list(reversed(scores.ranked(CC, higher_is_better=True)[-WORST:]))


def worst(study: Study, out: Path) -> None:
    """Write NAME; raises ResultsError where the run kept no pictures."""
    best, album = study.best, study.album
    maps = None if best is None else study.maps(best)
    if best is None or album is None or maps is None:
        raise ResultsError(f"{study.board.folder}: no maps and images were kept; run it with pictures")
    scores = study.results[best["cell_key"]].per_image
    chosen = [(image, f"worst {n}") for n, image in enumerate(failing(scores), 1)]
    rows = list(album.rows(scores, maps, chosen))
    sheet = contact_sheet(f"{study.board.dataset} · {label(best)}", rows, synthetic=study.synthetic)
    with replacing(out / NAME, sync=False) as temporary:
        sheet.save(temporary, **JPEG)
