"""The scores of one readout, image by image, in columns: eight bytes an image and metric, appended as they come."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from sys import intern
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

Row = dict[str, Any]


class PerImage:
    """Image ids and one column a metric (nan where unscored); why an image is unscored is kept only where it is."""

    def __init__(self, metrics: Iterable[str] = ()) -> None:
        self._ids = array("q")
        self._columns = {metric: array("d") for metric in metrics}
        self.unscored: dict[int, str] = {}
        """Image id -> "metric: reason; ..."."""

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Row]:
        """One image after the other: image_id, every metric, unscored."""
        return map(self._row, range(len(self)))

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """From what iterating gives."""
        made = cls()
        for row in rows:
            scores = {name: [value] for name, value in row.items() if name not in ("image_id", "unscored")}
            made.append([row["image_id"]], scores, [row.get("unscored") or ""])
        return made

    @classmethod
    def of_table(cls, table: pa.Table) -> Self:
        """From what `table` gives."""
        made = cls()
        metrics = [name for name in table.column_names if name not in ("cell_key", "image_id", "unscored")]
        scores = {name: [math.nan if x is None else x for x in table[name].to_pylist()] for name in metrics}
        made.append(table["image_id"].to_pylist(), scores, [why or "" for why in table["unscored"].to_pylist()])
        return made

    @property
    def metrics(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self._columns)

    @property
    def ids(self) -> NDArray[np.int64]:
        """The images, in the order in which they were scored."""
        return np.array(self._ids, dtype=np.int64)

    def append(self, ids: Sequence[int], scores: Mapping[str, Sequence[float]], reasons: Sequence[str]) -> None:
        """A batch: a value an image for every metric, and why an image lacks one (empty where it does not)."""
        if not self._ids:
            self._columns = {metric: array("d") for metric in scores}
        self._ids.extend(ids)
        for metric, column in self._columns.items():
            column.extend(scores[metric])
        # few different reasons, in many images: kept, and sent to other processes, once each
        self.unscored |= {image: intern(reason) for image, reason in zip(ids, reasons, strict=True) if reason}

    def column(self, metric: str) -> NDArray[np.float64]:
        """One metric's scores, in the order of `ids`."""
        return np.array(self._columns[metric], dtype=np.float64)

    def mean(self, metric: str) -> float:
        """Over the images that could be scored; nan where none could."""
        values = [value for value in self._columns[metric] if value == value]
        return sum(values) / len(values) if values else float("nan")

    def ranked(self, metric: str, *, higher_is_better: bool = True) -> list[int]:
        """Images that could be scored, best first; equal ones in the order of their ids."""
        values, ids = self.column(metric), self.ids
        order = np.lexsort([ids, -values if higher_is_better else values])
        return [int(ids[i]) for i in order if values[i] == values[i]]

    def score_of(self, image: int) -> dict[str, float]:
        """Every metric of one image; KeyError where it was not scored."""
        try:
            index = self._ids.index(image)
        except ValueError:
            raise KeyError(image) from None
        return {metric: column[index] for metric, column in self._columns.items()}

    def reasons(self) -> Counter[str]:
        """How many images each "metric: reason" left without a score."""
        return Counter(reason for words in self.unscored.values() for reason in words.split("; "))

    def merged(self, others: Iterable[PerImage], order: Sequence[int]) -> PerImage:
        """Joined with what other processes scored, its images in this order: as if one process had met them so."""
        parts = [part for part in (self, *others) if len(part)]
        if not parts:
            return PerImage(self.metrics)
        rank = {image: place for place, image in enumerate(order)}
        ids = np.concatenate([part.ids for part in parts])
        sorting = np.argsort([rank[image] for image in ids.tolist()], kind="stable")
        joined = PerImage()
        scores = {
            metric: np.concatenate([part.column(metric) for part in parts])[sorting].tolist()
            for metric in parts[0].metrics
        }
        why = {image: reason for part in parts for image, reason in part.unscored.items()}
        sorted_ids = ids[sorting].tolist()
        joined.append(sorted_ids, scores, [why.get(image, "") for image in sorted_ids])
        return joined

    def table(self, cell_key: str) -> pa.Table:
        """As rows of per_image.parquet; a missing score is null, which every reader leaves out of a mean."""
        import pyarrow as pa

        columns: dict[str, Any] = {
            "cell_key": pa.array([cell_key] * len(self), pa.string()),
            "image_id": pa.array(self.ids, pa.int64()),
            **{metric: pa.array(self.column(metric), pa.float64(), from_pandas=True) for metric in self._columns},
            "unscored": pa.array([self.unscored.get(image) for image in self._ids], pa.string()),
        }
        return pa.table(columns)

    def _row(self, index: int) -> Row:
        image = self._ids[index]
        scores = {metric: column[index] for metric, column in self._columns.items()}
        return {"image_id": image, **scores, "unscored": self.unscored.get(image)}
