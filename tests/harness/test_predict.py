"""`salprobe predict` as people use it: good and bad images, folders, MLflow runs; nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data.image_files import find_images
from harness.data.images import read_image
from harness.errors import ResultsError, TrackingError
from harness.find_readout import best, find_cell
from harness.plan import make_plan
from harness.predict import Wanted, images_for, is_odd, predict_images
from harness.predict_command import best_linear
from harness.predictions.write import to_grey
from harness.predictor import Predictor, is_cell
from harness.progress import Silent
from harness.readout_files import READOUT
from harness.recipe import parse_recipe
from harness.results import cell_folder, read_cells
from harness.run import run
from harness.tracking import MlflowObserver
from harness.tracking.model import save_model
from tests.harness.predicting import TINY, picture, salprobe, written

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_plan(parse_recipe(TINY)), tmp_path_factory.mktemp("run"), Silent()).folder


@pytest.fixture(scope="module")
def predictor(finished: Path) -> Predictor:
    return Predictor.load(find_cell(str(finished), None, finished, finished)[0], CPU)


def test_good_and_bad_images_through_the_command_line(finished: Path, tmp_path: Path, predictor: Predictor) -> None:
    images = tmp_path / "in"
    picture(images / "a.jpg")
    picture(images / "deep" / "a.jpg", 33, 47)
    picture(images / "<script>.png", 1, 1)
    picture(images / "ünï [b] 日本.png", 7, 5)
    picture(images / "long.png", 2, 1500)
    (images / "text.jpg").write_text("no image")
    (images / "cut.jpg").write_bytes((images / "a.jpg").read_bytes()[:900])
    (images / "empty.png").touch()
    done = salprobe("predict", images, "lost.jpg", "--readout", finished, "--out", tmp_path / "out", "--device", "cpu")
    assert done.returncode == 3, done.stderr
    assert "4 of 9 images could not be predicted" in done.stderr
    assert "Traceback" not in done.stderr
    assert f"readout: {predictor.label}: the best cell with a network by cc" in done.stdout
    for reason in (
        "text.jpg: not a readable",
        "cut.jpg: truncated",
        "empty.png: not a",
        "lost.jpg: cannot be read: No such",
    ):
        assert reason in done.stdout
    good = {"a": (40, 60), "deep/a": (33, 47), "<script>": (1, 1), "ünï [b] 日本": (7, 5), "long": (2, 1500)}
    endings = (".npy", ".png", "_overlay.jpg")
    assert written(tmp_path / "out") == {name + ending for name in good for ending in endings}
    for image in find_images([str(images)], tmp_path / "out"):
        if image.name not in good:
            continue
        plane = np.load(tmp_path / "out" / f"{image.name}.npy", allow_pickle=False)
        assert (plane.shape, plane.dtype) == (good[image.name], np.float32)
        expected = predictor.map(read_image(image.path, 0).permute(1, 2, 0).numpy())
        np.testing.assert_allclose(plane, expected, rtol=1e-5, atol=1e-6)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / f"{image.name}.png")), to_grey(plane))
        with Image.open(tmp_path / "out" / f"{image.name}_overlay.jpg") as overlay:
            assert overlay.size == plane.shape[::-1]


def test_mistakes_are_told_before_anything_is_loaded(finished: Path, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.npy").touch()
    common = ("predict", tmp_path / "a.png", "--readout", finished)
    for arguments, code, message in (
        ((*common, "-o", tmp_path), 7, "is one of the images and would be overwritten"),
        ((*common, "-o", tmp_path, "--format", "npy", "--no-overlay"), 7, "1 files would be overwritten"),
        ((*common, "-o", tmp_path / "out", "--format", "gif"), 2, "choose one of npy, png, both"),
        ((*common, "-o", tmp_path / "a.npy"), 7, "is a file"),
        ((*common, "-o", tmp_path / "out", "--cell", "observers"), 7, "own gaze"),
        (
            ("predict", tmp_path / "a.png", "-r", "nowhere", "-o", tmp_path / "out"),
            7,
            "no such folder, and neither an MLflow run",
        ),
    ):
        done = salprobe(*arguments)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert message in done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"a.png", "a.npy"}


def test_overwriting_is_asked_for_and_never_touches_the_images(predictor: Predictor, tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    before = (tmp_path / "a.jpg").read_bytes()
    wanted = Wanted(tmp_path)
    images = images_for([str(tmp_path / "a.jpg")], wanted)
    assert predict_images(predictor, images, wanted, Silent()).done == 1
    with pytest.raises(ResultsError, match=r"3 files would be overwritten.*--overwrite"):
        images_for([str(tmp_path / "a.jpg")], wanted)
    again = Wanted(tmp_path, ("npy",), overlays=False, overwrite=True)
    (tmp_path / "a.npy").write_bytes(b"old")
    assert predict_images(predictor, images_for([str(tmp_path / "a.jpg")], again), again, Silent()).done == 1
    assert np.load(tmp_path / "a.npy").shape == (40, 60)
    assert (tmp_path / "a.jpg").read_bytes() == before
    with pytest.raises(ResultsError, match="is one of the images"):
        images_for([str(tmp_path / "a.png")], Wanted(tmp_path, overwrite=True))


def test_what_was_made_before_is_not_taken_for_images(predictor: Predictor, tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    wanted = Wanted(tmp_path / "maps", overwrite=True)
    for _ in range(2):
        images = images_for([str(tmp_path)], wanted)
        assert [image.name for image in images] == ["a"]
        predict_images(predictor, images, wanted, Silent())


def test_an_image_that_cannot_be_written_leaves_nothing(predictor: Predictor, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    wanted = Wanted(tmp_path / "out", overwrite=True)
    (tmp_path / "out" / "a_overlay.jpg").mkdir(parents=True)  # in the way of the last file
    images = images_for([str(tmp_path / "a.png"), str(tmp_path / "b.png")], wanted)
    outcome = predict_images(predictor, images, wanted, Silent())
    assert (outcome.done, list(outcome.failed)) == (1, [tmp_path / "a.png"])
    assert "cannot be written" in outcome.failed[tmp_path / "a.png"]
    assert not [name for name in written(tmp_path / "out") if name.startswith((".", "a"))]


def test_a_full_disk_ends_it(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    picture(tmp_path / "a.png")
    wanted = Wanted(tmp_path / "out")
    images = images_for([str(tmp_path / "a.png")], wanted)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ResultsError, match="No space left"):
        predict_images(predictor, images, wanted, Silent())
    assert written(tmp_path / "out") == set()


def test_images_far_from_the_training_sizes_are_noted(predictor: Predictor) -> None:
    assert predictor.trained_on == ((96, 128), (96, 128))
    assert [is_odd(predictor, size) for size in ((96, 128), (190, 250), (400, 600), (50, 66), (20, 30))] == [
        False, False, True, False, True,
    ]  # fmt: skip


def test_a_readout_is_found_wherever_it_is(finished: Path, tmp_path: Path) -> None:
    rows = read_cells(finished).to_dict("records")
    chosen = best(rows, "cc")
    assert chosen is not None
    networks = [row for row in rows if row["backbone"] == "resnet50"]
    assert chosen["cc"] == max(row["cc"] for row in networks)
    lowest = best(rows, "kld")
    assert lowest is not None
    assert lowest["kld"] == min(row["kld"] for row in networks)
    assert best([{**row, "cc": np.nan} for row in rows], "cc") is None
    mine = [{**rows[0], "backbone": "resnet50", "mine": score} for score in (0.5, 0.2)]  # a plugin's, not loaded here
    assert best(mine, "mine") == mine[0]
    assert best(mine, "mine", ["mine"]) == mine[1]  # as the run said
    folder = cell_folder(finished, chosen["cell_key"])

    def find(place: Path, cell: str | None = None) -> Path:
        return find_cell(str(place), cell, tmp_path, tmp_path)[0]

    assert find(finished) == find(folder) == find(folder / "readout.json") == folder
    assert find(finished, "layer2 ridge") == cell_folder(finished, networks[1]["cell_key"])
    with pytest.raises(ResultsError, match="holds 4 cells"):
        find(finished / "cells")
    with pytest.raises(ResultsError, match="holds no cell"):
        find(tmp_path)
    with pytest.raises(ResultsError, match="one cell already"):
        find(folder, "ridge")


def test_a_readout_that_was_not_saved_is_not_chosen(finished: Path, tmp_path: Path) -> None:
    kept = shutil.copytree(finished, tmp_path / "kept")
    for kind in ("best", "next"):
        folder, why = find_cell(str(kept), None, tmp_path, tmp_path)
        assert is_cell(folder), kind
        assert why is not None
        (folder / READOUT).unlink()
        with pytest.raises(ResultsError, match="is saved; --cell chooses another one"):
            find_cell(str(kept), folder.name, tmp_path, tmp_path)
    with pytest.raises(ResultsError, match="no finished cell with a network has a saved readout"):
        find_cell(str(kept), None, tmp_path, tmp_path)


def test_a_run_and_a_model_of_an_mlflow_store(mlflow_store: Path, tmp_path: Path) -> None:
    changes = {"probes": ["ridge", "centre"], "layers": ["layer1"]}
    folder = run(make_plan(parse_recipe({**TINY, **changes})), mlflow_store, Silent(), [MlflowObserver()]).folder
    row = read_cells(folder).query("probe == 'ridge'").iloc[0]
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput

    client = MlflowClient(f"sqlite:///{(mlflow_store / 'mlflow.db').as_posix()}")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    (logged,) = client.search_runs([experiment.experiment_id], f"tags.cell_key = '{row.cell_key}'")
    run_id = logged.info.run_id
    expected = Predictor.load(cell_folder(folder, row.cell_key), CPU)
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    save_model(cell_folder(folder, row.cell_key), tmp_path / "model")
    model = client.create_logged_model(experiment.experiment_id, "readout", source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(tmp_path / "model"))
    bare = client.create_run(experiment.experiment_id)  # with the model as its output and no files of its own
    client.log_outputs(bare.info.run_id, [LoggedModelOutput(model.model_id, 0)])
    client.create_registered_model("gaze")
    client.create_model_version("gaze", model.artifact_location)
    client.set_registered_model_alias("gaze", "best", "1")
    for number, reference in enumerate(
        (
            run_id,
            f"runs:/{run_id}",
            f"models:/{model.model_id}",
            bare.info.run_id,
            "models:/gaze/1",
            "models:/gaze@best",
        )
    ):
        into = tmp_path / str(number)
        into.mkdir()
        found, _ = find_cell(reference, None, mlflow_store, into)
        assert np.array_equal(Predictor.load(found, CPU).map(image), expected.map(image))
    assert "MLFLOW_TRACKING_URI" not in os.environ
    with pytest.raises(TrackingError, match="cannot be had from sqlite"):
        find_cell("0" * 32, None, mlflow_store, tmp_path)


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match="--results names the folder"):
        find_cell("0" * 32, None, tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_several_runs_is_told_from_one(finished: Path) -> None:
    with pytest.raises(ResultsError, match=f"results of several runs; name one of {finished}"):
        find_cell(str(finished.parent), None, finished, finished)


def test_without_a_readout_it_is_the_best_linear_one(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="salprobe run linear --set dataset"):
        best_linear(tmp_path)
    (tmp_path / "linear").mkdir()
    assert best_linear(tmp_path) == str(tmp_path / "linear")
