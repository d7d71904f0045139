"""What is done to valid input: bytes are damaged, parts of documents are replaced by anything."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TOKENS = (
    *(b"null", b"NaN", b"-Infinity", b"1e999", b"-0", b"9223372036854775808", b"18446744073709551615", b"1" * 5000),
    *(b'""', b'"\\ud800"', b"\xff\xfe", b"\x00", b"[" * 2000, b'{"a":' * 2000, b"}]", b"},{", b"[[1,2]]", b"[1.5, 2]"),
    *(b'"fixations": [[1, 2]]', b'"annotations": [', b"&a [*a]", b"*a", b"<<: *a", b"!!python/name:os.system"),
    *(b"!!int x", b"!!timestamp x", b"2001-99-99", b"!!binary x", b"? ", b"~", b"{", b": ", b"\n- ", b"\t", b"'"),
)
"""Words that parsers stumble over."""

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, -(2**31), 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**400])
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(
        ["", "\ud800", "caf\udce9.jpg", "../../etc/passwd", "/etc/passwd", "a\0b", "x" * 300, "~nobody/x"]
    )
)
TREES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
"""Anything that JSON can hold."""


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of these files after one to four accidents."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        draw(st.sampled_from(_ACCIDENTS))(draw, data)
    return bytes(data)


@st.composite
def grafted(draw: st.DrawFn, documents: Sequence[Any]) -> Any:
    """One of these documents with one to three of its parts replaced, removed, doubled, or something added."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 3))):
        document = _grafted(draw, document)
    return document


def _grafted(draw: st.DrawFn, node: Any) -> Any:
    if not isinstance(node, dict | list) or not node or draw(st.integers(0, 9)) == 0:
        return draw(TREES)
    places = sorted(node) if isinstance(node, dict) else range(len(node))
    place = draw(st.sampled_from(places))
    kind = draw(st.sampled_from(["deeper", "deeper", "deeper", "replace", "remove", "double", "add"]))
    if kind == "remove":
        del node[place]
    elif kind in ("double", "add"):
        value = node[place] if kind == "double" else draw(TREES)
        node.append(value) if isinstance(node, list) else node.update({draw(st.text(max_size=6)): value})
    else:
        node[place] = _grafted(draw, node[place]) if kind == "deeper" else draw(TREES)
    return node


def _place(draw: st.DrawFn, data: bytearray) -> int:
    return draw(st.integers(0, len(data)))


def _part(draw: st.DrawFn, data: bytearray) -> slice:
    start = _place(draw, data)
    return slice(start, start + draw(st.integers(1, 64)))


def _flip(draw: st.DrawFn, data: bytearray) -> None:
    if data:
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))


def _extreme(draw: st.DrawFn, data: bytearray) -> None:
    """A number in place of what was there, as lengths and offsets are written."""
    width = draw(st.sampled_from([1, 2, 4, 8]))
    number = draw(st.sampled_from(EXTREMES)) % 2 ** (8 * width)
    start = _place(draw, data)
    data[start : start + width] = number.to_bytes(width, draw(st.sampled_from(["little", "big"])))  # type: ignore[arg-type]


def _truncate(draw: st.DrawFn, data: bytearray) -> None:
    del data[_place(draw, data) :]


def _insert(draw: st.DrawFn, data: bytearray) -> None:
    start = _place(draw, data)
    data[start:start] = draw(st.binary(min_size=1, max_size=16))


def _token(draw: st.DrawFn, data: bytearray) -> None:
    start = _place(draw, data)
    data[start:start] = draw(st.sampled_from(TOKENS))


def _remove(draw: st.DrawFn, data: bytearray) -> None:
    del data[_part(draw, data)]


def _double(draw: st.DrawFn, data: bytearray) -> None:
    part = data[_part(draw, data)]
    start = _place(draw, data)
    data[start:start] = part * draw(st.sampled_from([1, 1, 2, 100]))


_ACCIDENTS: Sequence[Callable[[st.DrawFn, bytearray], None]] = (
    *(_flip, _flip, _extreme, _extreme, _truncate, _insert, _token, _remove, _double),
)
