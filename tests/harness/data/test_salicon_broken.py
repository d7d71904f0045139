"""SALICON's files as they should not be: an image that is bad, an annotation file that is broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from tests.harness.data.roots import NAMES, SIZE, annotation, image, points_of, read, save_jpeg, two_images, write_root


def _missing(root: Path, _: dict[str, Any]) -> None:
    (root / "images/5.jpg").unlink()


def _truncated(root: Path, _: dict[str, Any]) -> None:
    file = root / "images/5.jpg"
    file.write_bytes(file.read_bytes()[:-200])


def _not_an_image(root: Path, _: dict[str, Any]) -> None:
    (root / "images/5.jpg").write_text("<html>404</html>")


def _other_size(root: Path, _: dict[str, Any]) -> None:
    save_jpeg(root / "images/5.jpg", (SIZE[1], SIZE[0]))


def _fixations(value: Any) -> Any:
    def change(_: Path, document: dict[str, Any]) -> None:
        document["annotations"][0]["fixations"] = value

    return change


def _no_fixations(_: Path, document: dict[str, Any]) -> None:
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] != 5]


BAD_IMAGES = {
    "missing": (_missing, r"5\.jpg is missing; looked in images, images/train"),
    "truncated": (_truncated, "truncated or damaged"),
    "not an image": (_not_an_image, "not a readable image"),
    "other size": (_other_size, r"is 20x12 .* says 12x20"),
    "row 0": (_fixations([[0, 4]]), r"annotation 1 has the point \[0, 4\], outside .*rows run from 1 to 12"),
    "below": (_fixations([[3, 4], [13, 4]]), r"\[13, 4\], outside .*\(1 of 3 points are outside"),
    "right": (_fixations([[12, 21]]), r"\[12, 21\], outside the image"),
    "x, y": (_fixations([[20, 12], [2, 2]]), r"they look like \[x, y\]"),
    "fraction": (_fixations([[1.5, 2]]), r"\[1\.5, 2\.0\]; \[row, col\] must be whole numbers"),
    "nan": (_fixations([[float("nan"), 2]]), "must be whole numbers"),
    "infinite": (_fixations([[2, float("inf")]]), "must be whole numbers"),
    "no fixations": (_no_fixations, "has no fixations"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_a_bad_image_is_an_error_that_names_file_and_id_or_a_reported_skip(
    tmp_path: Path, spoil: Any, message: str
) -> None:
    document = two_images()
    file = write_root(tmp_path, document)
    spoil(tmp_path, document)
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path)
    assert "image 5" in str(caught.value)
    assert str(tmp_path) in str(caught.value)

    dataset = read(tmp_path, on_bad="skip")
    assert dataset.ids.tolist() == [3]
    assert points_of(dataset, 3) == [(3, 4, 0)]
    (skipped,) = dataset.skipped
    assert (skipped.id, Path(skipped.file).is_relative_to(tmp_path)) == (5, True)


def test_whole_numbers_written_as_floats_are_fine(tmp_path: Path) -> None:
    write_root(tmp_path, {"images": [image(1)], "annotations": [annotation(1, 1, [[3.0, 4.0]])]})
    assert points_of(read(tmp_path), 1) == [(2, 3, 0)]


def test_an_annotation_for_an_unknown_image(tmp_path: Path) -> None:
    document = two_images()
    document["annotations"].append(annotation(8, 77, [[1, 1]]))
    write_root(tmp_path, document)
    with pytest.raises(DataError, match="image 77: is not listed under 'images', but annotation 8"):
        read(tmp_path)
    dataset = read(tmp_path, on_bad="skip")
    assert dataset.ids.tolist() == [3, 5]
    assert [s.id for s in dataset.skipped] == [77]


def test_many_bad_images_are_counted(tmp_path: Path) -> None:
    write_root(tmp_path, two_images())
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(DataError, match=r"image 3: .*and 1 more bad images.*on_bad=skip"):
        read(tmp_path)
    with pytest.raises(DataError, match="not one usable image"):
        read(tmp_path, on_bad="skip")


# --- what is wrong with the file is an error whatever on_bad says ------------------------------------------------


def _set(part: str, key: str, value: Any) -> Any:
    def change(document: dict[str, Any]) -> Any:
        document[part][0][key] = value
        return document

    return change


def _drop(part: str, key: str) -> Any:
    def change(document: dict[str, Any]) -> Any:
        del document[part][0][key]
        return document

    return change


BROKEN_FILES = {
    "a list": (lambda d: [d], "one JSON object"),
    "no images": (lambda d: {"annotations": d["annotations"]}, "'images' must be a list of objects"),
    "no annotations": (lambda d: {"images": d["images"]}, "'annotations' must be a list of objects"),
    "annotations of lists": (lambda d: {**d, "annotations": [[1]]}, "'annotations' must be a list of objects"),
    "image id twice": (_set("images", "id", 3), "1 id.* of 'images' are used more than once; the first is 3"),
    "annotation id twice": (_set("annotations", "id", 2), "of 'annotations' are used more than once"),
    "image id text": (_set("images", "id", "5"), "integer 'id'; found '5'"),
    "image id true": (_set("images", "id", True), "integer 'id'; found True"),
    "no annotation id": (_drop("annotations", "id"), "integer 'id'; found None"),
    "no image_id": (_drop("annotations", "image_id"), "annotation 1: needs an integer 'image_id'"),
    "no worker_id": (_drop("annotations", "worker_id"), "annotation 1: needs a 'worker_id'"),
    "no fixations": (_drop("annotations", "fixations"), "annotation 1: 'fixations' must be a list"),
    "fixations text": (_set("annotations", "fixations", "1,2"), "annotation 1: 'fixations' must be a list"),
    "fixations flat": (_set("annotations", "fixations", [1, 2]), "annotation 1: 'fixations' must be a list"),
    "fixations ragged": (_set("annotations", "fixations", [[1, 2], [3]]), "annotation 1: 'fixations' must be"),
    "fixations triples": (_set("annotations", "fixations", [[1, 2, 3]]), "annotation 1: 'fixations' must be"),
    "fixations of texts": (_set("annotations", "fixations", [["1", "2"]]), "annotation 1: 'fixations' must be"),
    "fixations null": (_set("annotations", "fixations", [[1, None]]), "annotation 1: 'fixations' must be"),
    "fixations huge": (_set("annotations", "fixations", [[2**70, 1]]), "annotation 1: 'fixations' must be"),
    "no file_name": (_drop("images", "file_name"), "image 5: 'file_name' must be a file name"),
    "height 0": (_set("images", "height", 0), "image 5: 'height' must be a positive integer"),
    "parent": (_set("images", "file_name", "../secret.jpg"), "image 5: file_name .* leaves the dataset's folder"),
    "inner parent": (_set("images", "file_name", "a/../../s.jpg"), "leaves the dataset's folder"),
    "absolute": (_set("images", "file_name", "/etc/passwd"), "leaves the dataset's folder"),
    "drive": (_set("images", "file_name", "C:\\x.jpg"), "leaves the dataset's folder"),
    "backslash parent": (_set("images", "file_name", "..\\x.jpg"), "leaves the dataset's folder"),
}


@pytest.mark.parametrize("on_bad", ["error", "skip"])
@pytest.mark.parametrize(("change", "message"), BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_a_broken_file_is_always_an_error(tmp_path: Path, change: Any, message: str, on_bad: str) -> None:
    file = write_root(tmp_path, two_images())
    file.write_text(json.dumps(change(two_images())))
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, on_bad=on_bad)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_file_that_is_not_json(tmp_path: Path, text: bytes) -> None:
    (tmp_path / NAMES["train"]).write_bytes(text)
    with pytest.raises(DataError, match="not JSON"):
        read(tmp_path, on_bad="skip")


def test_a_path_too_long_for_the_system_is_a_bad_image(tmp_path: Path) -> None:
    document = two_images()
    file = write_root(tmp_path, document)
    document["images"][0]["file_name"] = "x" * 5000
    file.write_text(json.dumps(document))
    assert [s.id for s in read(tmp_path, on_bad="skip").skipped] == [5]
