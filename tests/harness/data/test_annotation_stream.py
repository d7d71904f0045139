"""Annotation files read piece by piece against the plain JSON parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data import _annotation_stream
from harness.data._annotation_stream import stream_annotations
from harness.progress import NO_BAR

POINTS = st.lists(st.tuples(st.integers(0, 999_999_999), st.integers(0, 700)).map(list), max_size=5)
TRICKY = st.sampled_from(["},{", '"fixations":[[1,2]]', "}]", '"annotations":[', "\\", '"', "ü", "]]},{"])
TEXT = st.lists(TRICKY | st.text(max_size=3), max_size=3).map("".join)
NESTED = st.dictionaries(TEXT, st.lists(st.dictionaries(TEXT, st.integers(), max_size=1), max_size=2), max_size=2)
NUMBERS = {"id": st.integers(0, 10**12), "image_id": st.integers(0, 99), "fixations": POINTS}
USUAL = st.fixed_dictionaries({**NUMBERS, "worker_id": st.integers(0, 9)})
UNUSUAL = st.fixed_dictionaries({**NUMBERS, "worker_id": TEXT}, optional={"note": TEXT, "nested": NESTED})
REST = st.fixed_dictionaries(
    {"images": st.lists(st.fixed_dictionaries({"id": st.integers(), "file_name": TEXT}), max_size=3)},
    optional={"info": st.dictionaries(TEXT, TEXT, max_size=2), "categories": st.lists(NESTED, max_size=2)},
)
INDENT, PIECE = st.sampled_from([None, 1, "\t"]), st.integers(20, 400)
ON_DISK = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Count:
    total = 0

    def advance(self, n: int) -> None:
        self.total += n


def plain(document: Any) -> Any:
    """Arrays as lists."""
    if isinstance(document, dict):
        return {key: plain(value) for key, value in document.items()}
    if isinstance(document, list):
        return [plain(value) for value in document]
    return document.tolist() if isinstance(document, np.ndarray) else document


def streamed(file: Path, document: Any, indent: Any, piece: int) -> Any:
    """As it comes out, against the plain parser if it does come out."""
    file.write_text(json.dumps(document, indent=indent, ensure_ascii=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_annotation_stream, "PIECE", piece)
        found = stream_annotations(file, NO_BAR)
    assert found is None or plain(found) == json.loads(file.read_text(encoding="utf-8"))
    return found


@given(REST, st.lists(USUAL | UNUSUAL, max_size=8), st.booleans(), INDENT, PIECE)
@ON_DISK
def test_whatever_comes_out_is_what_the_plain_parser_finds(
    tmp_path: Path, rest: dict[str, Any], annotations: list[Any], last: bool, indent: Any, piece: int
) -> None:
    document = {**rest, "annotations": annotations} if last else {"annotations": annotations, **rest}
    streamed(tmp_path / "a.json", document, indent, piece)


@given(st.lists(USUAL, min_size=1, max_size=8), st.integers(0, 5), INDENT, PIECE)
@ON_DISK
def test_the_usual_form_is_streamed_whatever_the_pieces(
    tmp_path: Path, annotations: list[Any], images: int, indent: Any, piece: int
) -> None:
    document = {"info": {}, "images": [{"id": i, "file_name": "a b.jpg"} for i in range(images)]}
    assert streamed(tmp_path / "a.json", {**document, "annotations": annotations}, indent, piece) is not None
    if images < 2:  # else the list's end may look like the space between two annotations
        assert streamed(tmp_path / "a.json", {"annotations": annotations, **document}, indent, piece) is not None


GOOD = '{"images":[],"annotations":[{"id":1,"fixations":[[1,2],[3,4]]},{"id":2,"fixations":[]}]}'


def test_the_usual_form_is_streamed_and_the_bar_reaches_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, bar = tmp_path / "a.json", Count()
    file.write_text(GOOD)
    monkeypatch.setattr(_annotation_stream, "MIB", 1)
    found = stream_annotations(file, bar)
    assert found is not None
    first, second = (annotation["fixations"] for annotation in found["annotations"])
    assert (first.dtype, first.tolist(), second.shape) == (np.int32, [[1, 2], [3, 4]], (0, 2))
    assert bar.total == GOOD.rindex("]") - GOOD.index('[{"id":1') - 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[1,2]", "[1.0,2]"),
        ("[1,2]", "[-1,2]"),
        ("[1,2]", "[01,2]"),
        ("[1,2]", "[1,2,3]"),
        ("[1,2],[3,4]", "[1],[2,3,4]"),
        ("[1,2],[3,4]", "[1,2],[3,4],"),
        ("[1,2],[3,4]", "[1,2][3,4]"),
        ("[1,2]", "[9999999999,2]"),
        ('"fixations":[]', '"fixations":null'),
        (',"fixations":[]', ""),
        ("]}", "]"),
        ("[1,2]", "[1,2"),
        ('{"id":2', '{"id":2,"fixations":[[5,6]]'),
        ('"annotations"', '"annotation"'),
        ("}]}", "}]}{"),
    ],
)
def test_whatever_else_is_left_to_the_plain_parser(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "a.json"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    assert stream_annotations(file, NO_BAR) is None
    file.write_text("")
    assert stream_annotations(file, NO_BAR) is None
