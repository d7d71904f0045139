"""What the mutations found once in .mat files, and what was found by reading: each in its smallest form."""

from __future__ import annotations

import json
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from harness.data._annotation_stream import stream_annotations
from harness.data._coco import load_index
from harness.data._fixation_structs import load_scanpaths
from harness.data._gaze_mat import read_mat
from harness.data._mat_file import LARGEST, MatError, read_mat_file
from harness.data.salicon import Salicon
from harness.errors import DataError
from harness.progress import NO_BAR
from tests.fuzz import seeds
from tests.harness.data.roots import annotation, image, two_images, write_root


def mat(*elements: tuple[int, bytes]) -> bytes:
    """A .mat file of these elements (type, bytes)."""
    return b"MATLAB 5.0".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49) + b"".join(map(element, elements))


def element(content: tuple[int, bytes]) -> bytes:
    kind, data = content
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8 if kind != 15 else 0)


def array(kind: int, shape: tuple[int, ...], name: str, rest: bytes = b"") -> bytes:
    """The content of an array: flags, shape, name, and what follows."""
    parts = ((6, struct.pack("<II", kind, 0)), (5, struct.pack(f"<{len(shape)}i", *shape)), (1, name.encode()))
    return b"".join(map(element, parts)) + rest


@pytest.mark.parametrize("kind", [1, 2])
def test_a_cell_or_struct_array_of_billions_reserves_nothing(tmp_path: Path, kind: int) -> None:
    names = element((5, struct.pack("<i", 8))) + element((1, b"location")) if kind == 2 else b""
    file = tmp_path / "m_1.mat"
    file.write_bytes(mat((14, array(kind, (60_000, 60_000), "gaze", names))))
    with pytest.raises(MatError, match="0 arrays in the place of 3600000000"):
        read_mat_file(file, ("gaze",))
    assert "arrays in the place of" in str(read_mat(file, "mouse").problem)


def test_a_compressed_variable_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    file = tmp_path / "fixations.mat"
    huge = struct.pack("<II", 14, LARGEST + 8) + array(6, (1, LARGEST // 8), "fixations")
    file.write_bytes(mat((15, zlib.compress(huge + b"\0" * 2**20))))
    with pytest.raises(DataError, match=r"fixations.mat: a variable of 268,435,464 bytes is more than the 268,435,456"):
        load_scanpaths(file)
    other = struct.pack("<II", 14, LARGEST + 8) + array(6, (1, LARGEST // 8), "unasked")
    file.write_bytes(mat((15, zlib.compress(other + b"\0" * 2**20))))
    assert read_mat_file(file, ("fixations",)) == {}


def test_arrays_within_each_other_have_a_limit(tmp_path: Path) -> None:
    content = array(6, (0, 0), "", element((9, b"")))
    for _ in range(3000):
        content = array(1, (1, 1), "", element((14, content)))
    (tmp_path / "a.mat").write_bytes(mat((14, array(1, (1, 1), "x", element((14, content))))))
    with pytest.raises(MatError, match="16 within each other"):
        read_mat_file(tmp_path / "a.mat", ("x",))


def test_damage_that_ends_the_process_within_scipy_is_a_sentence(tmp_path: Path) -> None:
    """SciPy 1.17 dies of a bus error or segmentation fault on some lengths: every byte of two files is tried."""
    for whole in (seeds.gaze_mats()[0], seeds.gaze_mats()[-1]):
        for place in range(0, len(whole), 7):
            damaged = bytearray(whole)
            damaged[place : place + 4] = b"\xff\xff\xff\x7f"
            (tmp_path / "m_9.mat").write_bytes(damaged)
            read_mat(tmp_path / "m_9.mat", "mouse")


def test_version_4_and_7_3_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.mat"
    savemat(file, {"fixations": np.ones(3)}, format="4")
    with pytest.raises(DataError, match="not a MATLAB file of the versions 5 to 7"):
        load_scanpaths(file)
    file.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\0" * 400)
    with pytest.raises(DataError, match=r"is a MATLAB 7.3 file.*-v7"):
        load_scanpaths(file)


def test_a_text_among_points_is_not_multiplied(tmp_path: Path) -> None:
    """NumPy would make 40,000 texts as long as the longest: 160 GB."""
    document = {"images": [image(3)], "annotations": [annotation(1, 3, ["a" * 10**6] + ["b"] * 40_000)]}
    file = write_root(tmp_path, document)
    with pytest.raises(DataError, match=r"annotation 1: 'fixations' must be a list of \[row, col\] pairs"):
        load_index(file, NO_BAR)


def test_numbers_above_int64_are_outside_the_image(tmp_path: Path) -> None:
    document = two_images()
    document["annotations"][2]["fixations"] = [[2**63, 1]]
    write_root(tmp_path, document)
    dataset = Salicon(root=str(tmp_path), edition="custom", points="eye", on_bad="skip").read("train")
    assert "outside the image" in dataset.skipped[0].reason


def test_a_file_full_of_what_could_be_its_end_is_given_up_in_time(tmp_path: Path) -> None:
    """Each place that may end the list costs a look at all before it."""
    records = [{**annotation(n, 3, [[1, 1]]), "more": [{"a": n}]} for n in range(20_000)]
    text = json.dumps({"images": [image(3)], "annotations": records})[:-1] + ', "broken": [1, 2'
    (tmp_path / "a.json").write_text(text)
    start = time.process_time()
    assert stream_annotations(tmp_path / "a.json", NO_BAR) is None
    assert time.process_time() - start < 10
    (tmp_path / "b.json").write_text(json.dumps({"images": [image(3)], "annotations": records[:200]}))
    assert sorted(load_index(tmp_path / "b.json", NO_BAR).anns) == list(range(200))


def same(ours: Any, theirs: Any) -> None:
    """Ours as SciPy reads it."""
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("compressed", [False, True])
def test_sound_files_are_read_as_scipy_reads_them(tmp_path: Path, compressed: bool) -> None:
    from scipy.io import loadmat

    file, rng = tmp_path / "a.mat", np.random.default_rng(0)
    kinds = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?")
    arrays = {f"a{kind.replace('?', 'b')}": rng.integers(0, 2, (3, 4, 2)).astype(kind) for kind in kinds}
    gaze = {**seeds.gaze_mat_document(), "word": "Straße", "empty": np.empty((0, 3)), **arrays}
    savemat(file, gaze, do_compression=compressed)
    ours, theirs = read_mat_file(file, set(gaze)), loadmat(file)
    assert ours["word"] == theirs["word"][0]
    for name in ("resolution", "empty", *arrays):
        same(ours[name], theirs[name])
    (entry,) = ours["gaze"].items
    for field in ours["gaze"].fields:
        same(entry[field], theirs["gaze"][field][0, 0])
