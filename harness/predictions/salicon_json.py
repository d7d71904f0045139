"""The SALICON results file: a JSON list of {"image_id": int, "saliency_map": base64 of an image file's bytes}.

The format of salicon.net/evaluate ("results format") and of the original tools: `SALICON.encodeImage`/`decodeImage` in
NUS-VIP/salicon-api (PythonAPI/salicon/salicon.py) and image2json.py in NUS-VIP/salicon-evaluation, which encode the
whole png or jpg file. Its example holds 8 bit grey PNGs of the stimulus' size; the evaluation resizes others. Names
there are fixations_<split>_<algorithm>_results.json. An early demo (fakepredict.py) wrote nested lists of numbers
instead of the base64 string; they are read, too.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import DataError
from harness.predictions.decode import decode_map
from harness.predictions.stored import StoredMap

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ResultMap(StoredMap):
    """One entry of a results file."""

    path: Path
    image_id: int
    value: str | list[Any]

    @property
    def where(self) -> str:
        """The file and the image's id."""
        return f"{self.path}, image {self.image_id}"

    def read(self) -> NDArray[np.float64]:
        """Decode the entry."""
        if isinstance(self.value, list):
            return self._rows(self.value)
        try:
            content = base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError(f"{self.where}: saliency_map is not base64: {error}") from error
        return decode_map(content, ".png", self.where)

    def _rows(self, rows: list[Any]) -> NDArray[np.float64]:
        try:
            plane = np.array(rows, dtype=np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"{self.where}: saliency_map is not rows of numbers: {error}") from error
        if plane.ndim != 2 or plane.size == 0:
            raise DataError(f"{self.where}: saliency_map has the shape {plane.shape}; a map is (height, width)")
        return plane


def read_results(path: Path) -> dict[int, StoredMap]:
    """The maps of a results file by image id, decoded when read; raises DataError naming the file and the entry."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable JSON file: {error}") from error
    if not isinstance(document, list):
        raise DataError(f'{path}: SALICON results are a list of {{"image_id": ..., "saliency_map": ...}}')
    found: dict[int, StoredMap] = {}
    for index, entry in enumerate(document):
        image_id, value = _fields(entry)
        if image_id is None or value is None:
            raise DataError(f"{path}: entry {index} lacks an integer image_id or a saliency_map (base64 of a png)")
        if image_id in found:
            raise DataError(f"{path}: image {image_id} is there twice")
        found[image_id] = ResultMap(path, image_id, value)
    return found


def _fields(entry: Any) -> tuple[int | None, str | list[Any] | None]:
    if not isinstance(entry, dict):
        return None, None
    image_id, value = entry.get("image_id"), entry.get("saliency_map")
    whole = isinstance(image_id, int) and not isinstance(image_id, bool)
    return image_id if whole else None, value if isinstance(value, str | list) else None


def result_entry(image_id: int, png: bytes) -> str:
    """One entry of a results file as JSON."""
    return json.dumps({"image_id": image_id, "saliency_map": base64.b64encode(png).decode("ascii")})
