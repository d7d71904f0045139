"""SALICON's test images wherever people have them, and the ids that results are written with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data.salicon_test import find_test_images
from harness.errors import DataError


def put(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def ids(root: Path, info: str | None = None) -> dict[int, str]:
    return {stimulus.id: stimulus.file.name for stimulus in find_test_images(str(root), info).stimuli}


def listing(file: Path, images: dict[str, int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": [{"file_name": name, "id": id} for name, id in images.items()]}))


NAMES = tuple(f"COCO_test2014_{number:012d}.jpg" for number in (30, 4))


@pytest.mark.parametrize("folder", ["images/test", "test", "images", "."])
def test_images_are_found_and_numbered_by_their_names(tmp_path: Path, folder: str) -> None:
    put(tmp_path, *(f"{folder}/{name}" for name in NAMES))
    put(tmp_path, "images/COCO_train2014_000000000009.jpg", "COCO_val2014_000000000008.jpg", f"{folder}/.hidden_3.jpg")
    assert list(ids(tmp_path).items()) == [(4, NAMES[1]), (30, NAMES[0])]
    assert [s.name for s in find_test_images(str(tmp_path)).stimuli] == [NAMES[1][:-4], NAMES[0][:-4]]


def test_a_folder_of_their_own_comes_first(tmp_path: Path) -> None:
    put(tmp_path, f"images/test/{NAMES[0]}", f"images/{NAMES[1]}")
    assert ids(tmp_path) == {30: NAMES[0]}


@pytest.mark.parametrize("folder", ["", "annotations"])
def test_a_list_says_the_ids(tmp_path: Path, folder: str) -> None:
    put(tmp_path, "test/a.jpg", f"test/{NAMES[0]}")
    listing(tmp_path / folder / "image_info_test2014.json", {"a.jpg": 17, NAMES[0]: 31, "gone.jpg": 5})
    assert ids(tmp_path) == {17: "a.jpg", 31: NAMES[0]}
    assert find_test_images(str(tmp_path)).missing == ["gone.jpg"]


def test_the_list_of_all_of_coco_is_no_list_of_what_is_missing(tmp_path: Path) -> None:
    put(tmp_path, f"test/{NAMES[0]}")
    listing(tmp_path / "other.json", {NAMES[0]: 30} | {f"{number}.jpg": number for number in range(100, 5_200)})
    assert find_test_images(str(tmp_path), "other.json").missing == []


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set dataset\.root=FOLDER"):
        find_test_images(None)
    put(tmp_path, "images/COCO_train2014_000000000009.jpg")
    with pytest.raises(DataError, match=r"no test images; looked in images/test/, test/ and for COCO_test2014_\*"):
        find_test_images(str(tmp_path))
    put(tmp_path, "test/1_9.jpg", "test/2_9.jpg")
    with pytest.raises(DataError, match=r"2_9\.jpg and 1_9\.jpg are both of image 9"):
        find_test_images(str(tmp_path))
    with pytest.raises(DataError, match=r"no mine\.json"):
        find_test_images(str(tmp_path), "mine.json")
    (tmp_path / "test" / "2_9.jpg").rename(tmp_path / "test" / "b.jpg")
    with pytest.raises(DataError, match=r"b\.jpg: which image is it"):
        find_test_images(str(tmp_path))
    (tmp_path / "image_info_test2014.json").write_text("[]")
    with pytest.raises(DataError, match="is no list of images"):
        find_test_images(str(tmp_path))


@pytest.mark.parametrize("text", ['{"images": [{"file_name": "a.jpg", "id": Infinity}]}', '{"images":' + "[" * 100_000])
def test_a_hostile_list_of_images_is_no_traceback(tmp_path: Path, text: str) -> None:
    put(tmp_path, "test/a_1.jpg")
    (tmp_path / "image_info_test2014.json").write_text(text)
    with pytest.raises(DataError, match=r"image_info_test2014\.json: is no list of images"):
        find_test_images(str(tmp_path))


def test_a_link_out_of_the_folders_of_images_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "secret.jpg", "data/test/a_1.jpg")
    (tmp_path / "data/test/b_2.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataError, match=r"b_2\.jpg: is a link to .*secret\.jpg, outside"):
        find_test_images(str(tmp_path / "data"))
    assert len(find_test_images(str(tmp_path / "data"), links="anywhere").stimuli) == 2
    (tmp_path / "data/test/b_2.jpg").unlink()
    (tmp_path / "data/test/b_2.jpg").symlink_to("a_1.jpg")
    assert len(find_test_images(str(tmp_path / "data")).stimuli) == 2
