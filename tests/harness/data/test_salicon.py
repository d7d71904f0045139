from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from harness.data.dataset import DATASETS
from harness.data.salicon import FOLDERS, Salicon
from harness.errors import DataError
from tests.harness.data.roots import SIZE, annotation, image, points_of, read, save_jpeg, two_images, write_root


def test_points_are_zero_based_row_then_column_and_observers_stay_apart(tmp_path: Path) -> None:
    write_root(tmp_path, two_images())
    dataset = read(tmp_path)
    assert dataset.ids.tolist() == [3, 5]
    assert points_of(dataset, 5) == [(1, 2, 0), (0, 19, 1), (11, 0, 1), (0, 19, 1)]
    assert points_of(dataset, 3) == [(3, 4, 0)]
    assert dataset.points(1).counts(SIZE)[0, 19] == 2
    assert dataset.size(0) == SIZE


def test_the_split_carries_what_the_recipe_says_and_the_digests_of_the_files(tmp_path: Path) -> None:
    write_root(tmp_path, two_images())
    dataset = read(tmp_path, edition="2015", points="fixations")
    assert (dataset.name, dataset.edition, dataset.points_kind) == ("salicon", "2015", "fixations")
    assert (dataset.synthetic, dataset.skipped) == (False, ())
    assert dataset.image_sha256 == tuple(hashlib.sha256(f.read_bytes()).hexdigest() for f in dataset.files)
    assert dataset.digest != read(tmp_path, edition="2017", points="fixations").digest


def test_a_worker_with_two_annotations_of_an_image_is_one_observer(tmp_path: Path) -> None:
    document = {
        "images": [image(1)],
        "annotations": [
            annotation(1, 1, [[1, 1]], worker_id="b"),
            annotation(2, 1, [[2, 2]], worker_id="a"),
            annotation(3, 1, [[3, 3]], worker_id="b"),
        ],
    }
    write_root(tmp_path, document)
    assert points_of(read(tmp_path), 1) == [(1, 1, 0), (0, 0, 1), (2, 2, 1)]


def test_order_of_annotations_does_not_change_the_digest(tmp_path: Path) -> None:
    document = two_images()
    write_root(tmp_path, document)
    digest = read(tmp_path).digest
    document["annotations"].reverse()
    document["images"].reverse()
    write_root(tmp_path, document)
    assert read(tmp_path).digest == digest


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("images", FOLDERS["train"])
@pytest.mark.parametrize("annotations", ["", "annotations"])
def test_every_way_people_unpack_it(tmp_path: Path, split: str, images: str, annotations: str) -> None:
    write_root(tmp_path, two_images(), split=split, images=images, annotations=annotations)
    assert len(read(tmp_path, split)) == 2


def test_a_split_prefers_its_own_folder_to_the_other_splits(tmp_path: Path) -> None:
    write_root(tmp_path, two_images(), split="test", images="val")
    for id in (3, 5):
        save_jpeg(tmp_path / "train" / f"{id}.jpg", seed=99)
    assert {file.parent.name for file in read(tmp_path, "test").files} == {"val"}


def test_categories_are_not_needed_and_not_minded(tmp_path: Path) -> None:
    write_root(tmp_path, {**two_images(), "categories": [{"id": 1, "name": "x"}]})
    assert len(read(tmp_path)) == 2


def test_reading_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_root(tmp_path, two_images())
    read(tmp_path)
    assert capsys.readouterr() == ("", "")


def test_an_annotation_file_by_name(tmp_path: Path) -> None:
    file = write_root(tmp_path, two_images())
    file.rename(file.with_name("mine.json"))
    assert len(read(tmp_path, train="mine.json")) == 2
    assert len(read(tmp_path, train="annotations/mine.json")) == 2
    with pytest.raises(DataError, match=r"no fixations_train2014\.json in .*annotations/mine\.json.*dataset\.train="):
        read(tmp_path)


def test_two_annotation_files_are_one_too_many(tmp_path: Path) -> None:
    file = write_root(tmp_path, two_images())
    shutil.copy(file, tmp_path / file.name)
    with pytest.raises(DataError, match=r"both .*fixations_train2014\.json and annotations/"):
        read(tmp_path)


def test_no_root() -> None:
    with pytest.raises(DataError, match=r"set dataset\.root=FOLDER"):
        Salicon(edition="2015", points="mouse").read("train")
    with pytest.raises(DataError, match="/nowhere/at/all: no such folder"):
        Salicon(root="/nowhere/at/all", edition="2015", points="mouse").read("train")


def test_a_root_may_name_an_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_root(tmp_path / "data", two_images())
    monkeypatch.setenv("SALPROBE_TEST_HERE", str(tmp_path))
    assert len(read(Path("$SALPROBE_TEST_HERE/data"))) == len(read(tmp_path / "data"))
    with pytest.raises(DataError, match=r"set the environment variable SALPROBE_TEST_THERE, or set dataset\.root"):
        read(Path("${SALPROBE_TEST_THERE}/data"))


def test_parameters_as_a_recipe_gives_them() -> None:
    adapter = TypeAdapter(Salicon)
    assert adapter.validate_python({"edition": 2015, "points": "eye"}).edition == "2015"
    assert adapter.validate_python({"edition": "custom", "points": "eye"}).on_bad == "error"
    for wrong in ({"points": "eye"}, {"edition": 2015}, {"edition": 2016, "points": "eye"}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
    with pytest.raises(ValidationError):
        adapter.validate_python({"edition": 2015, "points": "eye", "rooot": "x"})


def test_it_is_found_by_its_entry_point() -> None:
    assert DATASETS.get("salicon") is Salicon


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(0, 6),
            st.lists(st.tuples(st.integers(0, SIZE[0] - 1), st.integers(0, SIZE[1] - 1)), min_size=1, max_size=8),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_what_is_written_is_read(tmp_path: Path, gaze: list[tuple[int, int, list[tuple[int, int]]]]) -> None:
    """Any points -> JSON -> reader: the same points of the same people on the same images, with multiplicity."""
    ids = sorted({id for id, _, _ in gaze})
    annotations = [
        annotation(n, id, [[row + 1, col + 1] for row, col in points], worker_id=worker)
        for n, (id, worker, points) in enumerate(gaze)
    ]
    write_root(tmp_path, {"images": [image(id) for id in reversed(ids)], "annotations": annotations})
    dataset = read(tmp_path)
    workers = sorted({worker for _, worker, _ in gaze})
    written = Counter((id, row, col, worker) for id, worker, points in gaze for row, col in points)
    found = Counter((id, r, c, workers[o]) for id in ids for r, c, o in points_of(dataset, id))
    assert found == written
    assert dataset.ids.tolist() == ids
    assert dataset.offset[-1] == len(dataset.row) == sum(written.values())
    assert np.all(np.diff(dataset.offset) > 0)
