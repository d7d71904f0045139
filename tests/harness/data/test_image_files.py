"""Files, folders and globs -> images with names that never clash."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.image_files import ImageFile, _names, find_images
from harness.errors import DataError
from harness.shown import shown


def touch(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")


def names(root: Path, *places: str) -> dict[str, str]:
    found = find_images([str(root / place) for place in places], leave_out=root / "out")
    return {image.path.relative_to(root).as_posix(): image.name for image in found}


def test_a_folder_is_mirrored(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "in/b.JPG",
        "in/a.png",
        "in/deep/a.tif",
        "in/notes.txt",
        "in/.hidden.jpg",
        "in/.git/x.png",
        "out/o.png",
    )
    assert names(tmp_path, "in") == {"in/a.png": "a", "in/b.JPG": "b", "in/deep/a.tif": "deep/a"}
    assert list(names(tmp_path, ".")) == ["in/a.png", "in/b.JPG", "in/deep/a.tif"]


def test_globs_keep_the_part_below_their_fixed_one(tmp_path: Path) -> None:
    touch(tmp_path, "in/x/a.jpg", "in/y/a.jpg", "in/y/b.txt", "out/a.jpg", "in/.z/a.jpg")
    assert names(tmp_path, "in/*/*") == {"in/x/a.jpg": "x/a", "in/y/a.jpg": "y/a"}
    assert names(tmp_path, "**/a.*") == {"in/x/a.jpg": "in/x/a", "in/y/a.jpg": "in/y/a"}


def test_images_in_the_output_folder_itself_can_be_meant(tmp_path: Path) -> None:
    touch(tmp_path, "out/a.jpg", "out/deep/b.jpg")
    assert names(tmp_path, "out/*.jpg") == {"out/a.jpg": "a"}
    assert names(tmp_path, "out") == {"out/a.jpg": "a", "out/deep/b.jpg": "deep/b"}
    with pytest.raises(DataError):
        names(tmp_path, "*/*.jpg")


def test_a_named_file_is_taken_as_it_is_even_if_it_looks_like_a_glob(tmp_path: Path) -> None:
    touch(tmp_path, "[b].png", "b.png", "odd.data")
    assert names(tmp_path, "[b].png", "odd.data", "lost.jpg") == {
        "[b].png": "[b]",
        "odd.data": "odd",
        "lost.jpg": "lost",
    }


def test_an_image_is_predicted_once(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg")
    assert names(tmp_path, "in/a.jpg", "in", "in/*.jpg") == {"in/a.jpg": "a"}


def test_equal_names_are_told_apart_by_folder_then_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.jpg", "y/a.jpg", "y/A.png", "y/c.png")
    assert names(tmp_path, "x/a.jpg", "y/a.jpg", "y/A.png", "y/c.png") == {
        "x/a.jpg": "x/a",
        "y/a.jpg": "y/a.jpg",
        "y/A.png": "y/A.png",
        "y/c.png": "c",
    }


@pytest.mark.parametrize("place", ["empty", "none*.jpg"])
def test_nothing_found_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no image there \(\.bmp"):
        names(tmp_path, place)


PART = st.sampled_from(["a", "b", "A", "a.b"])
FILE = st.builds(lambda folders, stem, suffix: "/".join([*folders, stem + suffix]), st.lists(PART, max_size=2), PART,
                 st.sampled_from([".jpg", ".png"]))  # fmt: skip


@given(st.lists(FILE, unique=True, min_size=1, max_size=8), st.data())
def test_names_are_unique_and_stay_below_the_output(files: list[str], data: st.DataObject) -> None:
    found = {}
    for file in files:
        path = Path("/in") / file
        depth = (
            data.draw(st.integers(1, len(path.parts) - 2), label=f"depth named for {file}")
            if len(path.parts) > 3
            else 1
        )
        found[path] = Path(*path.parts[-depth:])
    given_names = _names(found)
    assert len({name.casefold() for name in given_names}) == len(found)
    assert len(given_names) == len(found)
    assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in given_names)


@given(st.text(max_size=20))
def test_what_is_shown_can_be_printed(text: str) -> None:
    assert shown(text).isprintable()
    shown(text + "\udcff").encode()


def test_printable_names_are_shown_as_they_are() -> None:
    assert shown(Path("ünï/日本.png")) == "ünï/日本.png"
    assert ImageFile(Path("a"), "a").name == "a"
