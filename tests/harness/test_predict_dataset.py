"""`salprobe predict --dataset salicon-test`: what a leaderboard takes, read back as it was written."""

from __future__ import annotations

import errno
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data.image_files import ImageFile
from harness.data.images import read_image
from harness.errors import RecipeError, ResultsError
from harness.find_readout import find_cell
from harness.plan import make_plan
from harness.predict import Wanted, predict_images, refuse_loss
from harness.predict_command import Asked, wanted_files
from harness.predictions import FORMATS
from harness.predictions.salicon_json import read_results
from harness.predictions.write import to_grey
from harness.predictor import Predictor
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.run import run
from tests.harness.predicting import TINY, picture, salprobe, written

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_plan(parse_recipe(TINY)), tmp_path_factory.mktemp("run"), Silent()).folder


@pytest.fixture(scope="module")
def predictor(finished: Path) -> Predictor:
    return Predictor.load(find_cell(str(finished), None, finished, finished)[0], CPU)


def write_test_set(root: Path, *numbers: int) -> dict[int, Path]:
    """SALICON's test images, not all of them of one size."""
    images = {number: root / "images" / "test" / f"COCO_test2014_{number:012d}.png" for number in numbers}
    for number, path in images.items():
        picture(path, 30 + number, 40)
    return images


def test_salicon_s_test_set_as_the_leaderboard_takes_it(finished: Path, tmp_path: Path, predictor: Predictor) -> None:
    images = write_test_set(tmp_path, 9, 2)
    images[5] = tmp_path / "images" / "test" / "COCO_test2014_000000000005.jpg"
    images[5].write_text("no image")
    out = tmp_path / "maps"
    command = ("predict", "--dataset", "salicon-test", "--readout", finished, "--out", out, "--device", "cpu")
    done = salprobe(*command, "--set", f"root={tmp_path}", "--format", "png,zip,salicon-json")
    assert done.returncode == 3, done.stderr
    assert "1 of 3 images could not be predicted" in done.stderr
    assert "salicon-test: 3 of SALICON's 5,000 test images" in done.stdout
    assert "2 maps are not 480x640" in done.stdout
    assert f"to submit: {out / 'predictions.zip'}" in done.stdout
    del images[5]
    stems = {path.stem for path in images.values()}
    assert written(out) == {f"{stem}.png" for stem in stems} | {"predictions.zip", "predictions.json"}
    with zipfile.ZipFile(out / "predictions.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"{stem}.png": (out / f"{stem}.png").read_bytes() for stem in stems
        }
    results = read_results(out / "predictions.json")
    assert list(results) == [2, 9]
    for number, path in images.items():
        expected = to_grey(predictor.map(read_image(path, 0).permute(1, 2, 0).numpy()))
        assert np.array_equal(results[number].read(), expected)
        assert np.array_equal(np.asarray(Image.open(out / f"{path.stem}.png")), expected)


def test_a_dataset_s_maps_are_by_default_pngs_and_a_results_file(tmp_path: Path) -> None:
    wanted = wanted_files(tmp_path, None, overlays=None, overwrite=False, dataset=True)
    assert (wanted.formats, wanted.overlays, wanted.together) == (("png",), False, ("salicon-json",))
    wanted = wanted_files(tmp_path, None, overlays=None, overwrite=False)
    assert (wanted.formats, wanted.overlays, wanted.together) == (("npy", "png"), True, ())
    wanted = wanted_files(tmp_path, "zip,npy", overlays=None, overwrite=False)
    assert (wanted.formats, wanted.together) == (("npy",), ("zip",))
    with pytest.raises(RecipeError, match="needs the ids of a dataset's images"):
        wanted_files(tmp_path, "salicon-json", overlays=None, overwrite=False)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(), "name images .* or --dataset salicon-test, one of both"),
        (Asked(["a.jpg"], "salicon-test"), "one of both"),
        (Asked((), "osie"), "--dataset osie: predict knows salicon-test"),
        (Asked(["a.jpg"], None, ["root=x"]), "sets a parameter of --dataset"),
    ],
)
def test_images_or_a_dataset(asked: Asked, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        asked.check()


def test_files_of_all_maps_are_not_overwritten_either_and_broken_off_they_are_gone(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [ImageFile(path, path.stem, number) for number, path in write_test_set(tmp_path, 2).items()]
    wanted = Wanted(tmp_path / "out", (), overlays=False, together=("zip", "salicon-json"))
    predict_images(predictor, images, wanted, Silent())
    with pytest.raises(ResultsError, match=r"2 files would be overwritten, the first is .*predictions\.zip"):
        refuse_loss(images, wanted)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("harness.predictions.write.result_entry", full)
    elsewhere = Wanted(tmp_path / "other", (), overlays=False, together=("zip", "salicon-json"))
    with pytest.raises(ResultsError, match="No space left"):
        predict_images(predictor, images, elsewhere, Silent())
    assert written(tmp_path / "other") == set()


@pytest.mark.parametrize("format", ["zip", "salicon-json"])
def test_memory_does_not_grow_with_the_maps(format: str, tmp_path: Path) -> None:
    plane = np.random.default_rng(0).normal(size=(120, 160)).astype(np.float32)
    tracemalloc.start()
    try:
        with FORMATS[format](tmp_path) as writer:
            for number in range(200):
                writer.add(f"{number}", number, plane)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 2_000_000
    assert peak < 1_200_000
