"""`density: released`: the release's own maps in the place of blurred points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data.dataset import Dataset
from harness.data.salicon import Salicon
from harness.errors import DataError
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import read_cells
from harness.run import run
from harness.stream import Stream, StreamSettings
from tests.harness.data.roots import SIZE, two_images, write_root

CPU = torch.device("cpu")


def with_maps(root: Path) -> dict[int, np.ndarray]:
    """Both splits of two images, with random maps."""
    random, made = np.random.default_rng(0), {}
    for split, folder in (("train", "train"), ("test", "val")):
        write_root(root, two_images(), split=split)
        for image in two_images()["images"]:
            made[image["id"]] = random.integers(0, 256, SIZE).astype(np.uint8)
            path = root / "maps" / folder / f"{image['id']}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(made[image["id"]]).save(path)
    return made


def read(root: Path, **parameters: Any) -> Dataset:
    return Salicon(root=str(root), edition="custom", points="mouse", **parameters).read("test")


def test_a_batch_has_the_maps_as_its_density_and_their_averages_as_its_target(tmp_path: Path) -> None:
    made = with_maps(tmp_path)
    dataset = read(tmp_path, density="released")
    (batch,) = Stream(dataset, StreamSettings(grid=4), CPU).batches()
    for index, image_id in enumerate(batch.ids):
        np.testing.assert_array_equal(batch.density.values[index], made[image_id])
        cells = made[image_id].reshape(3, 4, 5, 4).mean(axis=(1, 3))
        np.testing.assert_allclose(batch.target()[index], cells / cells.mean(), rtol=1e-6)
    assert batch.take([1]).density.values.shape == (1, *SIZE)
    assert batch.with_points(batch.points).released is None
    assert batch.fixations.values.sum() == len(dataset.row)


def test_other_maps_are_other_data(tmp_path: Path) -> None:
    with_maps(tmp_path)
    blurred, released = read(tmp_path), read(tmp_path, density="released")
    assert blurred.digest != released.digest
    assert released.take([0]).maps == released.maps[:1]
    Image.new("L", SIZE[::-1], 7).save(tmp_path / "maps" / "val" / "5.png")
    assert read(tmp_path, density="released").digest != released.digest


def test_a_missing_or_damaged_map_is_named(tmp_path: Path) -> None:
    with_maps(tmp_path)
    file = tmp_path / "maps" / "val" / "5.png"
    for spoil, message in (
        (lambda: file.write_bytes(b"no"), "released map cannot be read"),
        (lambda: Image.new("L", (3, 4)).save(file), "the released map is 4x3"),
        (file.unlink, "has no released map"),
    ):
        spoil()
        with pytest.raises(DataError, match=message):
            read(tmp_path, density="released")
        assert read(tmp_path, density="released", on_bad="skip").ids.tolist() == [3]
    (tmp_path / "maps" / "val" / "3.png").unlink()
    with pytest.raises(DataError, match=r"no released maps for the test split .*maps/val"):
        read(tmp_path, density="released")


def test_a_run_is_scored_against_them(tmp_path: Path) -> None:
    with_maps(tmp_path)
    recipe = {
        "name": "released",
        "dataset": {"reader": "salicon", "root": str(tmp_path), "edition": "custom", "points": "mouse"},
        "allow_overlap": True,
        "probes": ["centre", "observers"],
        "metrics": ["cc", "nss"],
        "grid": 4,
        "folds": 2,
        "pictures": 0,
    }
    cells = []
    for density in ("blurred", "released"):
        plan = make_plan(parse_recipe({**recipe, "dataset": {**recipe["dataset"], "density": density}}))  # type: ignore[dict-item]
        cells.append(read_cells(run(plan, tmp_path / density, Silent()).folder).set_index("probe"))
    assert not set(cells[0].cell_key) & set(cells[1].cell_key)
    assert cells[0].cc["centre"] != cells[1].cc["centre"]
