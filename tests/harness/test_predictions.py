"""Maps in files: whose map it is, what is resized, and that writing loses nothing it does not say."""

from __future__ import annotations

import base64
import io
import json
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from harness.data.dataset import Dataset
from harness.errors import DataError, ResultsError
from harness.export import map_names
from harness.predictions import EIGHT_BIT, FORMATS, TOGETHER, StoredReadout, check_maps, find_maps, writer_for
from harness.predictions.stored import FileMap
from harness.predictions.write import to_grey
from harness.progress import Silent
from tests.harness.small_planes import SIZE, Plane, batch, bytes_of, dataset, plane


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_what_is_written_is_read_again(format: str, tmp_path: Path) -> None:
    images = dataset({7: "a/Straße 日本.jpg", 12: "b/x.y.jpg", 3: "b/plain.png"})
    planes = {id_: plane(id_) for id_ in (7, 12, 3)}
    with writer_for(format, tmp_path / "maps") as writer:
        for id_, file in zip(images.ids, images.files, strict=True):
            writer.add(file.stem, int(id_), planes[int(id_)])
    single = TOGETHER.get(format)
    for place in {tmp_path / "maps", tmp_path / "maps" / (single or "")}:
        if format in ("salicon-json", "zip") and place.is_dir():
            continue
        found = find_maps(place, images)
        assert (set(found.maps), list(found.missing), found.unused) == ({7, 12, 3}, [], 0)
        for id_, stored in found.maps.items():
            eight_bit = format in EIGHT_BIT
            np.testing.assert_array_equal(stored.read(), to_grey(planes[id_]) if eight_bit else planes[id_])
    assert not list((tmp_path / "maps").glob(".*"))


def test_8_bit_is_scaled_to_the_map_s_own_extremes() -> None:
    assert to_grey(np.array([[-3.0, 0.0, 7.0]])).tolist() == [[0, 76, 255]]  # 76.5 rounds to even
    assert to_grey(np.full((2, 2), 4.0)).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError, match="NaN or infinity"):
        to_grey(np.array([[0.0, np.nan]]))


def test_salicon_json_is_the_published_format(tmp_path: Path) -> None:
    """A list of {"image_id": int, "saliency_map": base64 of a PNG file}, 8 bit grey, the stimulus' size."""
    with writer_for("salicon-json", tmp_path) as writer:
        writer.add("COCO_val2014_000000100083", 100083, plane())
    entry = json.loads((tmp_path / "predictions.json").read_bytes())[0]
    assert set(entry) == {"image_id", "saliency_map"}
    assert entry["image_id"] == 100083
    assert entry["saliency_map"].startswith("iVBORw0KGgo")  # PNG's signature in base64
    image = Image.open(io.BytesIO(base64.b64decode(entry["saliency_map"])))
    assert (image.mode, image.size) == ("L", (8, 6))


def test_salicon_json_of_others(tmp_path: Path) -> None:
    images = dataset({1: "one.jpg", 2: "two.jpg", 3: "3.jpg"})
    jpeg = bytes_of(Image.fromarray(to_grey(plane())), "JPEG")
    entries = [
        {"image_id": 1, "saliency_map": base64.b64encode(jpeg).decode()},
        {"image_id": 2, "saliency_map": plane().tolist(), "more": 0},
        {"image_id": 99, "saliency_map": [[0.5]]},
    ]
    (tmp_path / "r.json").write_text(json.dumps(entries))
    found = find_maps(tmp_path / "r.json", images)
    assert (set(found.maps), list(found.missing), found.unused) == ({1, 2}, [(3, "3.jpg")], 1)
    np.testing.assert_array_equal(found.maps[2].read(), plane())
    assert found.maps[1].read().shape == SIZE


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[{]", "not a readable JSON"),
        ('{"image_id": 1}', "are a list"),
        ('[{"image_id": "1", "saliency_map": ""}]', "entry 0 lacks an integer image_id"),
        ('[{"image_id": 1}]', "entry 0 lacks"),
        ('[{"image_id": 1, "saliency_map": ""}, {"image_id": 1, "saliency_map": ""}]', "image 1 is there twice"),
        ('[{"image_id": 1, "saliency_map": "no base64!"}]', "image 1: saliency_map is not base64"),
        ('[{"image_id": 1, "saliency_map": "AAAA"}]', "image 1: not a readable image"),
        ('[{"image_id": 1, "saliency_map": [[1, 2], [3]]}]', "image 1: saliency_map is not rows of numbers"),
        ('[{"image_id": 1, "saliency_map": [1, 2]}]', r"image 1: saliency_map has the shape \(2,\)"),
    ],
)
def test_wrong_results_files(document: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(document)
    with pytest.raises(DataError, match=message) as caught:
        find_maps(tmp_path / "r.json", dataset({1: "1.jpg"})).maps[1].read()
    assert "r.json" in str(caught.value)


def save(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, plane())


def where(predictions: Path, images: Dataset) -> dict[int, str]:
    maps = find_maps(predictions, images).maps
    return {id_: Path(stored.where).name for id_, stored in maps.items()}


def test_a_map_is_found_by_stem_or_by_id(tmp_path: Path) -> None:
    save(tmp_path, "deep/er/a.npy", "22.npy", "c.d.npy", ".hidden.npy", "unknown.npy")
    (tmp_path / "notes.txt").write_text("no map")
    images = dataset({1: "a.jpg", 22: "b.jpg", 3: "c.d.png", 4: ".hidden.jpg"})
    assert where(tmp_path, images) == {1: "a.npy", 22: "22.npy", 3: "c.d.npy"}
    found = find_maps(tmp_path, images)
    assert list(found.missing) == [(4, ".hidden.jpg")]
    assert found.unused == 1


def test_ids_and_stems_are_never_mixed_up(tmp_path: Path) -> None:
    save(tmp_path, "1.npy")
    assert where(tmp_path, dataset({1: "2.jpg", 2: "1.jpg"})) == {2: "1.npy"}  # 1.npy is the map of 1.jpg


def test_stimuli_that_share_a_stem_need_ids(tmp_path: Path) -> None:
    save(tmp_path, "a.npy", "2.npy")
    assert where(tmp_path, dataset({1: "x/a.jpg", 2: "y/a.jpg"})) == {2: "2.npy"}


def test_every_image_has_a_name_of_its_own_and_is_found_by_it(tmp_path: Path) -> None:
    """CAT2000's categories share their stems, which are numbers; so are the ids."""
    images = dataset({1: "x/114.jpg", 114: "x/2.jpg", 2: "y/2.jpg", 3: "y/id-2.jpg", 5: "y/7.jpg", 7: "y/5.jpg"})
    names = map_names(images)
    assert names == {1: "114", 114: "id-114", 2: "id-id-2", 3: "id-2", 5: "7", 7: "5"}
    save(tmp_path, *(f"{name}.npy" for name in names.values()))
    assert where(tmp_path, images) == {id_: f"{name}.npy" for id_, name in names.items()}


def test_two_maps_of_one_image_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "one/a.npy", "two/a.npy")
    with pytest.raises(DataError, match=r"image 1 has 2 maps: .*one.a\.npy, .*two.a\.npy"):
        find_maps(tmp_path, dataset({1: "a.jpg"}))


def test_decomposed_names_match(tmp_path: Path) -> None:
    save(tmp_path, unicodedata.normalize("NFD", "é") + ".npy")
    assert len(find_maps(tmp_path, dataset({1: unicodedata.normalize("NFC", "é") + ".jpg"})).maps) == 1


def test_archives_with_one_array_each(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", plane(1))
    np.savez(tmp_path / "b.npz", b=plane(2))
    maps = find_maps(tmp_path, dataset({1: "a.jpg", 2: "b.jpg"})).maps
    np.testing.assert_array_equal(maps[1].read(), plane(1))
    np.testing.assert_array_equal(maps[2].read(), plane(2))


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder of maps"):
        find_maps(tmp_path / "nowhere", dataset({1: "a.jpg"}))
    with pytest.raises(DataError, match=r"gone\.npy: cannot be read: No such file"):
        FileMap(tmp_path / "gone.npy").read()


def test_maps_are_resized_by_the_stated_rule(tmp_path: Path) -> None:
    small, large = plane(1, (3, 4)), plane(2, (12, 24))
    np.save(tmp_path / "1.npy", small)
    np.save(tmp_path / "2.npy", large)
    images = dataset({1: "x.jpg", 2: "y.jpg"})
    maps = find_maps(tmp_path, images).maps
    up, down = StoredReadout(maps)(batch((1, 2)))
    bilinear = interpolate(torch.from_numpy(small)[None, None], SIZE, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up, bilinear[0, 0])
    torch.testing.assert_close(down, interpolate(torch.from_numpy(large)[None, None], SIZE, mode="area")[0, 0])
    words = check_maps(maps, images, Silent(), density=False).resized
    assert [Path(text.split(" is ")[0]).name for text in words] == ["1.npy", "2.npy"]
    assert words[0].endswith("1.npy is 3x4, its image 6x8")


def test_a_transposed_map_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", plane().T)
    images = dataset({1: "x.jpg"})
    with pytest.raises(DataError, match=r"1\.npy is 8x6, its image 6x8 .*: transpose"):
        check_maps(find_maps(tmp_path, images).maps, images, Silent(), density=False)


def test_the_digest_is_of_values_not_of_formats(tmp_path: Path) -> None:
    images, digests = dataset({1: "a.jpg", 2: "b.jpg"}), {}
    for format in ("npy", "npz", "tiff", "png"):
        with writer_for(format, tmp_path / format) as writer:
            writer.add("a", 1, plane(1))
            writer.add("b", 2, plane(2))
        digests[format] = check_maps(find_maps(tmp_path / format, images).maps, images, Silent(), density=False).digest
    assert digests["npy"] == digests["npz"] == digests["tiff"] != digests["png"]
    np.save(tmp_path / "npy" / "b.npy", plane(3))
    changed = check_maps(find_maps(tmp_path / "npy", images).maps, images, Silent(), density=False).digest
    assert changed != digests["npy"]


def test_a_density_is_normalised_at_the_stimulus_size(tmp_path: Path) -> None:
    p = np.abs(plane(1, (3, 4)).astype(np.float64)) * 1e-60  # less than float32 can hold
    np.save(tmp_path / "1.npy", p)
    maps = find_maps(tmp_path, dataset({1: "x.jpg"})).maps
    log_p = StoredReadout(maps, are_densities=True).log_density(batch((1,)))
    assert log_p is not None
    assert log_p.shape == (1, *SIZE)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    full = interpolate(torch.from_numpy(p)[None, None], SIZE, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(log_p, (full / full.sum()).log().float())
    assert StoredReadout(maps).log_density(batch((1,))) is None


@pytest.mark.parametrize("values", [plane(), np.zeros(SIZE)])
def test_what_is_no_density(values: Plane, tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", values)
    images = dataset({1: "x.jpg"})
    with pytest.raises(DataError, match=r"1\.npy: a density is nowhere negative"):
        check_maps(find_maps(tmp_path, images).maps, images, Silent(), density=True)


def test_nan_travels_on_without_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.full((3, 4), np.nan))
    images = dataset({1: "x.jpg", 2: "none.jpg"})
    maps = find_maps(tmp_path, images).maps
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_maps(maps, images, Silent(), density=True)
        assert StoredReadout(maps)(batch((1, 2))).isnan().all()


def test_maps_are_not_written_among_others(tmp_path: Path) -> None:
    save(tmp_path, "old.npy")
    with pytest.raises(ResultsError, match="is not empty"):
        writer_for("npy", tmp_path)
    (tmp_path / "a file").touch()
    with pytest.raises(ResultsError, match="cannot write maps"):
        writer_for("npy", tmp_path / "a file" / "x")


@pytest.mark.parametrize("format", sorted(TOGETHER))
def test_an_interrupted_archive_leaves_nothing(format: str, tmp_path: Path) -> None:
    def interrupted() -> None:
        with writer_for(format, tmp_path) as writer:
            writer.add("a", 1, plane())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())
