"""A large annotation file read piece by piece: points go straight into arrays, only the light rest is parsed as JSON.

Works on files whose gaze is whole non-negative numbers, as every release writes it; whatever else is met (fractions,
broken JSON, another order of things) makes it give up, and the plain parser then says what is wrong.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int32
    from numpy import ndarray

    from harness.progress import Bar

MIB = 2**20
PIECE = 32 * MIB
"""Bytes that are worked on at once."""
_LIST = re.compile(rb'"annotations"\s*:\s*\[')
_NUMBER = rb"(?:0|[1-9]\d{0,8})"
_POINT = rb"\[\s*" + _NUMBER + rb"\s*,\s*" + _NUMBER + rb"\s*\]\s*"
_FIXATIONS = re.compile(rb'"fixations"\s*:\s*(\[\s*(?:' + _POINT + rb"(?:,\s*(?=\[)|(?=\])))*+\])")
_BETWEEN = re.compile(rb"\}\s*,\s*\{")
_END = re.compile(rb"\}\s*\]")
_TRIES = 16
"""Places that may be the list's end: each costs a look at all before it, and files with thousands could be written."""
_TAIL = 2**16
_NOT_DIGITS = b"[] \t\r\n"

Record = dict[str, Any]


class _GiveUpError(Exception):
    """The file is not of the form that can be streamed."""


def stream_annotations(file: Path, bar: Bar) -> Record | None:
    """The document with every annotation's `fixations` as (n, 2) int32 arrays; None where it cannot be streamed.

    `bar` advances by MiB.
    """
    if not file.stat().st_size:
        return None
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = _LIST.search(data)
        if start is None:
            return None
        annotations: list[Record] = []
        try:
            done = start.end()
            for end, records in _pieces(data, done):
                bar.advance(end // MIB - done // MIB)
                annotations += records
                done = end
            # all but the annotations must be JSON whose own list of them is the one that was cut out
            rest = json.loads(data[: start.end()] + data[done:])
        except (_GiveUpError, ValueError, RecursionError):
            return None
    if not isinstance(rest, dict) or rest.get("annotations") != []:
        return None
    return {**rest, "annotations": annotations}


def _pieces(data: mmap.mmap, start: int) -> Iterator[tuple[int, list[Record]]]:
    """(where the next begins, annotations of this one), up to the list's end."""
    size = PIECE
    while True:
        block = data[start : start + size]
        cut = _last_between(block) if start + size < len(data) else None
        if cut is not None:
            with suppress(_GiveUpError, ValueError):
                yield start + cut[1], _records(block[: cut[0]])
                start, size = start + cut[1], PIECE
                continue
        for end in islice(_END.finditer(block), _TRIES):
            with suppress(ValueError):
                yield start + end.end() - 1, _records(block[: end.start() + 1])
                return
        if cut is not None or start + size >= len(data):
            raise _GiveUpError
        size *= 2  # one annotation is longer than the block


def _last_between(block: bytes) -> tuple[int, int] | None:
    """(end of an annotation, start of the next) of the last two whole ones."""
    offset = max(0, len(block) - _TAIL)
    while True:
        found = list(_BETWEEN.finditer(block, offset))
        if found:
            return found[-1].start() + 1, found[-1].end() - 1
        if offset == 0:
            return None
        offset = max(0, offset - 16 * _TAIL)


def _records(piece: bytes) -> list[Record]:
    """Raises ValueError for what is not a sequence of JSON objects, _GiveUpError for other gaze than whole numbers."""
    spans = [match.span(1) for match in _FIXATIONS.finditer(piece)]
    cuts = [0, *(edge for span in spans for edge in span), len(piece)]
    light = b"[]".join(piece[a:b] for a, b in zip(cuts[::2], cuts[1::2], strict=True))
    records = json.loads(b"[" + light + b"]")
    if len(records) != len(spans) or any(not isinstance(r, dict) or r.get("fixations") != [] for r in records):
        raise _GiveUpError
    lengths = [piece.count(b"[", *span) - 1 for span in spans]
    points = _numbers([piece[a:b] for a, b in spans])
    if len(points) != sum(lengths):
        raise _GiveUpError
    for record, part in zip(records, np.split(points, np.cumsum(lengths)[:-1]), strict=True):
        record["fixations"] = part
    return list(records)


def _numbers(texts: list[bytes]) -> Int32[ndarray, "n 2"]:
    stripped = (text.translate(None, _NOT_DIGITS) for text in texts)
    digits = b",".join(text for text in stripped if text)
    return np.fromstring(digits.decode("ascii"), dtype=np.int32, sep=",").reshape(-1, 2)
