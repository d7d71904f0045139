"""The stimuli kept beside results: what is drawn from them, what a report finds later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.album import SIDE, Album, GrowingAlbum, evenly, extremes, ranking
from harness.data.demo import Demo
from harness.density import blur, sigma_for
from harness.errors import DataError, ResultsError
from harness.metric_registry import METRICS
from harness.per_image import PerImage
from harness.small_maps import SmallMaps, small


@pytest.fixture(scope="module")
def demo():  # type: ignore[no-untyped-def]
    return Demo(train=1, test=4, height=96, width=480).read("test")


def test_a_stimulus_is_its_image_and_everybodys_gaze(demo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    album = GrowingAlbum(tmp_path, demo)
    image_id = int(demo.ids[2])
    found = album.stimulus(image_id)
    assert found.image.shape == (SIDE * 96 // 480, SIDE, 3)
    with Image.open(demo.files[2]) as image:
        same = np.asarray(image.convert("RGB").resize((SIDE, SIDE * 96 // 480)), dtype=float)
    assert np.abs(found.image - same).mean() < 6  # JPEG
    counts = demo.points(2).counts((96, 480))[None].float()
    density = small(blur(counts, sigma_for(96)))[0].numpy()
    np.testing.assert_allclose(found.density, density / density.max(), atol=0.01)


def test_a_closed_album_can_be_read_without_the_dataset(demo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    growing = GrowingAlbum(tmp_path, demo)
    with pytest.raises(ResultsError, match=r"index\.json"):
        _ = Album(tmp_path).ids
    first, last = int(demo.ids[0]), int(demo.ids[3])
    made = growing.stimulus(last)
    growing.stimulus(first)
    growing.close()
    album = Album(tmp_path)
    assert album.ids == [first, last]
    again = album.stimulus(last)
    assert (again.file, again.image.tolist()) == (demo.files[3].name, made.image.tolist())
    with pytest.raises(ResultsError, match="not among those kept"):
        album.stimulus(int(demo.ids[1]))


def test_an_image_that_is_gone_is_named(demo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from dataclasses import replace

    lost = replace(demo, files=(*demo.files[:3], tmp_path / "lost.jpg"))
    with pytest.raises(DataError, match=r"lost\.jpg"):
        GrowingAlbum(tmp_path, lost).stimulus(int(demo.ids[3]))


def test_a_sheet_shows_the_chosen_images(demo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ids = [int(i) for i in demo.ids]
    scores = PerImage()
    scores.append(ids, {"cc": [0.1, 0.4, float("nan"), 0.2]}, ["", "", "cc: no fixation", ""])
    maps = SmallMaps()
    maps.add(ids, torch.rand(4, 3, 15))
    album = GrowingAlbum(tmp_path, demo)
    ranked = ranking(scores, METRICS.get("cc"))
    assert ranked == [ids[1], ids[3], ids[0]]
    rows = list(album.rows(scores, maps, extremes(ranked, 1)))
    assert [(row.image_id, row.note) for row in rows] == [(ids[1], "best 1"), (ids[3], "median"), (ids[0], "worst 1")]
    heights = []
    for shown in (evenly(ids, 2), extremes(ranked, 1)):
        album.draw("a title", scores, maps, shown, tmp_path / "sheet.jpg")
        with Image.open(tmp_path / "sheet.jpg") as sheet:
            heights.append(sheet.height)
    assert heights[1] > heights[0]


@given(st.integers(0, 40), st.integers(1, 6))
def test_extremes_are_the_ends_and_the_middle(images: int, n: int) -> None:
    ranked = list(range(100, 100 + images))
    found = extremes(ranked, n)
    ids = [image_id for image_id, _ in found]
    assert len(set(ids)) == len(ids) == min(images, 2 * n + 1)
    assert ids == sorted(ids)
    notes = {note: image_id for image_id, note in found}
    if images:
        assert notes["best 1"] == ranked[0]
    if images > n:
        assert notes["worst 1"] == ranked[-1]
    if images > 2 * n:
        assert notes["median"] == ranked[images // 2]


@given(st.integers(0, 30), st.integers(0, 10))
def test_the_same_few_images_are_spread_over_all(images: int, n: int) -> None:
    ids = [image_id for image_id, _ in evenly(range(images), n)]
    assert len(set(ids)) == len(ids) == min(n, images)
    assert ids == sorted(ids)


def test_pictures_of_other_images_or_other_gaze_are_drawn_again(demo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Under the same names and of the same sizes, with as many points."""
    from dataclasses import replace

    first = GrowingAlbum(tmp_path, demo)
    for image_id in map(int, demo.ids):
        first.stimulus(image_id)
    first.close()
    assert set(GrowingAlbum(tmp_path, demo)._made) == set(map(int, demo.ids))
    blurred = replace(demo, image_sha256=("another", *demo.image_sha256[1:]))
    assert set(GrowingAlbum(tmp_path, blurred)._made) == set(map(int, demo.ids[1:]))
    assert not GrowingAlbum(tmp_path, replace(demo, row=demo.row[::-1].copy()))._made
