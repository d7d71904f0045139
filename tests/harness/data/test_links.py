"""Names and links in a dataset: none leads out of its folders, unless the recipe says that they may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.dataset import DatasetReader
from harness.data.folder import Folder
from harness.data.osie import Osie
from harness.data.salicon import Salicon
from harness.errors import DataError
from tests.harness.data.eye_trackers import osie_root
from tests.harness.data.roots import image, save_jpeg, two_images, write_root
from tests.harness.data.test_folder import ROWS, write

OUTSIDE = r"is a link to .*secret\.jpg, outside of the dataset's folders; if that is meant: dataset.links=anywhere"
PATHS: dict[str, list[tuple[float, float]]] = {"1001.jpg": [(3, 3)], "1002.jpg": [(4, 4)]}


def salicon(root: Path, **how: Any) -> DatasetReader:
    if not (root / "annotations").exists():
        write_root(root, two_images())
    return Salicon(root=str(root), edition="custom", points="eye", **how)


def folder(root: Path, **how: Any) -> DatasetReader:
    if not root.exists():
        write(root, [{**row, "split": "train"} for row in ROWS])
    return Folder(root=str(root), **how)


def osie(root: Path, **how: Any) -> DatasetReader:
    if not root.exists():
        osie_root(root, {name: [points] for name, points in PATHS.items()})
    from harness.data._splitting import Splitting

    return Osie(root=str(root), split=Splitting(test=0), **how)


READERS = {"salicon": (salicon, "images"), "folder": (folder, "images"), "osie": (osie, "data/stimuli")}


@pytest.mark.parametrize("name", READERS)
def test_a_link_out_of_the_dataset_is_refused_by_name(tmp_path: Path, name: str) -> None:
    reader, images = READERS[name]
    root = tmp_path / "data"
    whole = reader(root).read("train")
    victim = sorted((root / images).iterdir())[0]
    victim.rename(tmp_path / "secret.jpg")
    victim.symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataError, match=f"{victim.name}: image .*{OUTSIDE}"):
        reader(root).read("train")
    skipped = reader(root, on_bad="skip").read("train")
    assert (len(skipped), len(skipped.skipped)) == (len(whole) - 1, 1)
    assert reader(root, links="anywhere").read("train").digest == whole.digest


@pytest.mark.parametrize("name", READERS)
def test_links_within_and_folders_that_are_links_are_fine(tmp_path: Path, name: str) -> None:
    reader, images = READERS[name]
    root = tmp_path / "data"
    digest = reader(root).read("train").digest
    victim = sorted((root / images).iterdir())[0]
    (root / "store").mkdir()
    victim.rename(root / "store" / "0a1b")
    victim.symlink_to(root / "store" / "0a1b")
    assert reader(root).read("train").digest == digest
    (root / images).rename(root / "moved")
    (root / "moved").rename(tmp_path / "elsewhere")
    (root / images).symlink_to(tmp_path / "elsewhere")
    assert reader(root).read("train").digest == digest
    (tmp_path / "link").symlink_to(root)
    assert reader(tmp_path / "link").read("train").digest == digest


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../../b.jpg", "..\\b.jpg", "C:\\b.jpg", "b\0.jpg"]
)
def test_names_that_lead_out_are_refused_in_every_layout(tmp_path: Path, name: str) -> None:
    file = write_root(tmp_path, two_images())
    file.write_text(json.dumps({**two_images(), "images": [image(5, file_name=name), image(3)]}))
    with pytest.raises(DataError, match=r"image 5: .* leaves the dataset's folder"):
        salicon(tmp_path).read("train")
    if "\0" not in name:
        root = tmp_path / "table"
        write(root, ROWS)
        (root / "gaze.csv").write_text(f"image,observer,x,y\n{name},1,1,1\n")
        with pytest.raises(DataError, match="leaves the dataset's folder"):
            Folder(root=str(root)).read("train")
        osie_root(tmp_path / "osie", {"1.jpg": [[(1, 1)]]})
        from tests.harness.data.eye_trackers import cells, save_fixations

        save_fixations(tmp_path / "osie/data/eye/fixations.mat", {name: [[(1, 1)]]}, cells)
        with pytest.raises(DataError, match="img must be a file name without folders"):
            Osie(root=str(tmp_path / "osie")).read("train")


def test_a_released_map_is_no_way_out_either(tmp_path: Path) -> None:
    from PIL import Image

    root = tmp_path / "data"
    salicon(root)
    (root / "maps").mkdir()
    for id_ in (3, 5):
        Image.new("L", (20, 12), 9).save(root / "maps" / f"{id_}.png")
    assert len(salicon(root, density="released").read("train")) == 2
    (root / "maps" / "3.png").rename(tmp_path / "secret.jpg")
    (root / "maps" / "3.png").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataError, match=rf"3\.png: image 3: {OUTSIDE}"):
        salicon(root, density="released").read("train")


def test_a_link_to_itself_is_said(tmp_path: Path) -> None:
    root = tmp_path / "data"
    folder(root)
    save_jpeg(root / "images" / "a.jpg")
    (root / "images" / "a.jpg").unlink()
    (root / "images" / "a.jpg").symlink_to("a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: image 1: cannot be read: Too many levels"):
        folder(root).read("train")
