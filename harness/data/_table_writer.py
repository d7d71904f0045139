"""The gaze of both splits as one table of the `folder` reader, a row a point; written in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data._annotation_writer import labels_of
from harness.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.data.dataset import Dataset
    from harness.progress import Bar

ROWS = 2**20
"""Rows that are held in memory at once, but for those of one image."""
_LARGEST_ID = 2**53
"""The reader takes numbers through floats."""


def write_gaze(file: Path, splits: Sequence[Dataset], names: Sequence[Sequence[str]], bar: Bar) -> None:
    """image, observer, x, y (0-based), t where every split has it, id, split; an image without gaze is a row without.

    By the file's ending CSV or Parquet. Raises DataError for observers or ids that the table cannot tell apart.
    """
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    for dataset in splits:
        _check_labels(dataset, file)
    timed = all(dataset.time is not None for dataset in splits)
    types = {"image": pa.string(), "observer": pa.string(), "x": pa.int32(), "y": pa.int32()}
    types |= {"t": pa.int32()} if timed else {}
    schema = pa.schema(types | {"id": pa.int64(), "split": pa.string()})
    opened: Any = pc.CSVWriter(file, schema) if file.suffix == ".csv" else pq.ParquetWriter(file, schema)
    with opened as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in _rows(splits, names, schema, bar):
            waiting.append(batch)
            if sum(len(one) for one in waiting) >= ROWS:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))


def shared_ids(splits: Sequence[Dataset]) -> bool:
    """Whether an image of one split has the id of an image of another: a table needs them apart."""
    every = np.concatenate([dataset.ids for dataset in splits])
    return len(np.unique(every)) < len(every)


def _rows(
    splits: Sequence[Dataset], names: Sequence[Sequence[str]], schema: pa.Schema, bar: Bar
) -> Iterator[pa.RecordBatch]:
    """The rows of one image after the other."""
    import pyarrow as pa

    first = 1
    renumbered = shared_ids(splits)
    for dataset, called in zip(splits, names, strict=True):
        texts = np.array([str(label) for label in labels_of(dataset)], dtype=object)
        ids = range(first, first + len(dataset)) if renumbered else dataset.ids.tolist()
        first += len(dataset)
        for index, (id, name) in enumerate(zip(ids, called, strict=True)):
            points, part = dataset.points(index), slice(int(dataset.offset[index]), int(dataset.offset[index + 1]))
            n = max(1, len(points))
            found: dict[str, Any] = {"observer": texts[points.observer], "x": points.col, "y": points.row}
            if "t" in schema.names and dataset.time is not None:
                found["t"] = dataset.time[part]
            columns = found if len(points) else {key: [None] for key in found}
            columns |= {"image": [name] * n, "id": [id] * n, "split": [dataset.split] * n}
            yield pa.record_batch([pa.array(columns[f.name], f.type) for f in schema], schema=schema)
            bar.advance(1)


def _check_labels(dataset: Dataset, file: Path) -> None:
    labels = labels_of(dataset)
    texts = [str(label) for label in labels]
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise DataError(f"{dataset.name}: two observers are called {twice} (a number and a text): use --to salicon")
    if file.suffix == ".csv" and (odd := [text for text in texts if not text or not text.isprintable()]):
        raise DataError(f"{dataset.name}: CSV cannot tell an observer called {odd[0]!r}: use --table parquet")
    if no_text := [text for text in texts if re.search("[\ud800-\udfff]", text)]:
        raise DataError(f"{dataset.name}: a table cannot tell an observer called {no_text[0]!r}: use --to salicon")
    if len(dataset) and int(np.abs(dataset.ids).max()) >= _LARGEST_ID:
        raise DataError(f"{dataset.name}: image ids of 2**53 and above do not fit into a table: use --to salicon")
