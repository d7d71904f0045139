"""A real run in MLflow: everything that a cell's run carries, live and from its files."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import TrackingError
from harness.progress import Silent
from harness.results import CellResult
from harness.tracking import MlflowObserver, store_uri
from harness.tracking.later import track_folders
from harness.tracking.layer_curves import PREFIX, layer_curves
from harness.tracking.pictures import KEYS
from harness.tracking.record import ALPHA_PATH
from harness.tracking.store import DATABASE
from tests.harness.small_run import FAILED, Told
from tests.harness.tracked import client, free_port, runs

VOLATILE = {"model_id", "mlflow.user", "mlflow.source.type"}


@pytest.fixture(scope="module")
def live(told: Told, migrated_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as the run itself would have filled it."""
    out = tmp_path_factory.mktemp("live")
    shutil.copy(migrated_store, out / DATABASE)
    observe(told, store(out))
    return out


def store(out: Path) -> str:
    return f"sqlite:///{(out / DATABASE).as_posix()}"


def observe(told: Told, uri: str) -> None:
    tracking = told.record.recipe.tracking.model_copy(update={"uri": uri})
    recipe = told.record.recipe.model_copy(update={"tracking": tracking})
    observer = MlflowObserver()
    observer.started(dataclasses.replace(told.record, recipe=recipe))
    for result in told.results:
        observer.cell_ended(result)
    observer.ended("finished")
    assert observer.error is None


def account(out: Path) -> dict[str, Any]:
    """Everything in a store that must not depend on when it was written."""
    mlflow, found = client(out), {}
    for run in runs(out):
        folder = out / "mlartifacts" / run.info.run_id / "artifacts"
        files = {stable(path, folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        found[run.data.tags["cell_key"]] = {
            "name": run.info.run_name,
            "status": run.info.status,
            "tags": {k: v for k, v in run.data.tags.items() if k not in VOLATILE},
            "params": run.data.params,
            "metrics": {
                name: sorted((m.step, m.value) for m in mlflow.get_metric_history(run.info.run_id, name))
                for name in run.data.metrics
            },
            "inputs": [each.dataset.to_dictionary() for each in run.inputs.dataset_inputs],
            "models": len(run.outputs.model_outputs) if run.outputs else 0,
            "files": files,
        }
    return found


def stable(path: Path, folder: Path) -> str:
    """Without the time in an image's name."""
    parts = path.relative_to(folder).as_posix().split("+")
    return "+".join(part for index, part in enumerate(parts) if index != 4)


def cell(told: Told, probe: str, layers: str) -> CellResult:
    return next(r for r in told.results if r.cell.probe_label == probe and r.cell.layer_set == layers)


def run_of(out: Path, key: str) -> Any:
    return next(run for run in runs(out) if run.data.tags["cell_key"] == key)


def test_tracked_later_is_what_the_run_itself_would_have_logged(told: Told, live: Path, mlflow_store: Path) -> None:
    (tracked,) = track_folders([told.record.folder], store_uri(mlflow_store), Silent())
    assert tracked.cells == len(told.results)
    assert account(mlflow_store) == account(live)
    assert {run.info.status for run in runs(mlflow_store)} == {"FINISHED", "FAILED"}


def test_tracking_again_adds_nothing(told: Told, live: Path, mlflow_store: Path) -> None:
    uri = store_uri(mlflow_store)
    for _ in range(2):
        track_folders([told.record.folder], uri, Silent())
    assert account(mlflow_store) == account(live)
    models = client(mlflow_store).search_logged_models([runs(mlflow_store)[0].info.experiment_id])
    assert len(models) == len([r for r in told.results if r.status == "finished"]) - 1  # observers predict no image


def test_the_readout_is_a_model_that_predicts(told: Told, live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    run = run_of(live, cell(told, "ridge", "layer1").key)
    (output,) = run.outputs.model_outputs
    assert run.data.tags["model_id"] == output.model_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store(live))
    loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    assert loaded.metadata.model_id == output.model_id
    assert loaded.metadata.run_id == run.info.run_id
    maps = loaded.predict(np.zeros((2, 64, 96, 3), np.uint8))
    assert maps.shape == (2, 64, 96)
    assert not run_of(live, cell(told, "observers", "none").key).outputs.model_outputs


def test_scores_of_all_images_are_a_table(told: Told, live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store(live))
    ridge = cell(told, "ridge", "layer1")
    run = run_of(live, ridge.key)
    loaded = client(live).load_table(run.info.experiment_id, "per_image.parquet", [run.info.run_id])
    np.testing.assert_array_equal(loaded.cc, ridge.per_image.column("cc"))
    shown = client(live).load_table(run.info.experiment_id, "per_image.json", [run.info.run_id])
    np.testing.assert_allclose(shown.cc, ridge.per_image.column("cc"), rtol=1e-4)


def test_pictures_stand_where_the_image_grid_looks(told: Told, live: Path) -> None:
    """As `log_image` names them: key, step, time, and the small one beside the large one."""
    key = cell(told, "ridge", "layer1").key
    run = run_of(live, key)
    assert run.data.tags["mlflow.loggedImages"] == "True"
    folder = live / "mlartifacts" / run.info.run_id / "artifacts" / "images"
    large = sorted(path for path in folder.iterdir() if not path.stem.endswith("+compressed"))
    assert tuple(path.stem.split("+")[0] for path in large) == tuple(sorted(KEYS))
    for path in large:
        name, step, at, stamp, number, _ = path.stem.split("+")
        assert (step, at, stamp) == ("step", "0", "timestamp")
        assert number.isdigit()
        with Image.open(path.with_name(f"{path.stem}+compressed.webp")) as small:
            assert max(small.size) <= 800
        if name == "prediction":  # opens as the whole sheet
            with Image.open(path) as sheet, Image.open(folder.parent / "contact_sheet.jpg") as drawn:
                assert sheet.size == drawn.size


def test_the_dataset_is_tracked_without_folders_of_this_machine(told: Told, live: Path) -> None:
    run = run_of(live, cell(told, "centre", "none").key)
    inputs = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}
    assert inputs["training"].digest == told.record.dataset["train"]["digest"][:36]
    assert json.loads(inputs["evaluation"].profile)["images"] == told.record.dataset["test"]["images"]
    assert str(told.record.folder.parent) not in "".join(d.source for d in inputs.values())


def test_a_layer_curve_has_the_depth_as_its_step(told: Told, live: Path) -> None:
    curves = layer_curves(told.results)
    assert [curve.label for curve in curves] == ["resnet50/random · layers · ridge"]
    cells = [cell(told, "ridge", "stem"), cell(told, "ridge", "layer1")]
    (run,) = (run for run in runs(live) if run.data.tags["kind"] == "layer-curve")
    history = client(live).get_metric_history(run.info.run_id, f"{PREFIX}cc")
    assert sorted((m.step, m.value) for m in history) == [(c.cell.depth, c.metrics["cc"]) for c in cells]


def test_an_alpha_path_goes_below_zero(told: Told, live: Path) -> None:
    ridge = cell(told, "ridge", "layer1")
    history = client(live).get_metric_history(run_of(live, ridge.key).info.run_id, ALPHA_PATH)
    found = {m.step: m.value for m in history}
    wanted = zip(ridge.info["alphas"], ridge.info["cv_error"], strict=True)
    assert found == {round(10 * np.log10(alpha)): error for alpha, error in wanted}
    assert min(found) < 0


def test_a_failed_cell_says_why(told: Told, live: Path) -> None:
    (failed,) = (run for run in runs(live) if run.info.status == "FAILED")
    assert sum(result.status == "failed" for result in told.results) == FAILED
    assert failed.data.tags["error"]
    assert failed.data.tags["error"] in failed.data.tags["mlflow.note.content"]


def test_a_server_that_is_not_there_is_named(told: Told) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TrackingError, match=uri):
        track_folders([told.record.folder], uri, Silent())
