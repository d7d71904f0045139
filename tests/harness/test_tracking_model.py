"""A cell as an MLflow model: written at once, loaded in a clean process, equal to the Predictor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import ResultsError
from harness.find_readout import find_cell
from harness.plan import make_plan
from harness.predictor import FILES, Predictor
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import cell_folder, read_cells
from harness.run import run
from harness.tracking.model import example, save_model
from harness.tracking.store import keep_quiet

TINY = {
    "name": "tiny",
    "dataset": {"reader": "demo", "train": 6, "test": 3, "height": 96, "width": 128},
    "backbones": [{"name": "resnet50", "weights": "random"}],
    "layers": ["layer1"],
    "probes": ["ridge", "observers"],
    "metrics": ["cc"],
    "grid": 16,
    "folds": 2,
    "workers": 0,
    "pictures": 0,
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = run(make_plan(parse_recipe(TINY)), tmp_path_factory.mktemp("run"), Silent()).folder
    return {row.probe: cell_folder(folder, row.cell_key) for row in read_cells(folder).itertuples()}


@pytest.fixture(scope="module")
def model(cells: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "mo del"
    save_model(cells["ridge"], path)
    return path


@pytest.fixture(scope="module")
def expected(cells: dict[str, Path]) -> np.ndarray[Any, Any]:
    return Predictor.load(cells["ridge"], torch.device("cpu")).map(example())


def test_the_model_is_data_with_a_signature_and_an_example(model: Path) -> None:
    keep_quiet()
    from mlflow.models import Model

    saved = Model.load(str(model))
    assert saved.signature is not None
    assert [(t.type.name, t.shape) for t in saved.signature.inputs.inputs] == [("uint8", (-1, -1, -1, 3))]
    assert [(t.type.name, t.shape) for t in saved.signature.outputs.inputs] == [("float32", (-1, -1, -1))]
    assert saved.metadata["label"] == "resnet50/random · layer1 · ridge"
    assert np.array_equal(np.array(saved.load_input_example(str(model)), np.uint8), example())
    names = {file.name for file in model.rglob("*") if file.is_file()}
    assert set(FILES) < names
    assert not [name for name in names if name.endswith((".pkl", ".py", ".pth"))]
    required = (model / "requirements.txt").read_text()
    assert all(f"{package}==" in required for package in ("torch", "torchvision", "safetensors", "mlflow"))


def test_the_plugins_distributions_are_required(cells: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from harness._backbone import BACKBONES
    from harness.predictor import read_about
    from harness.tracking.model import requirements

    monkeypatch.setattr(BACKBONES, "origin", lambda name: "timm")
    assert any(line.startswith("timm==") for line in requirements(read_about(cells["ridge"])))


def test_observers_make_no_model(cells: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="own gaze"):
        save_model(cells["observers"], tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_saved_model_is_a_readout_for_predict(model: Path, tmp_path: Path) -> None:
    folder, why = find_cell(str(model), None, tmp_path, tmp_path)
    assert (folder, why) == (model / "data" / "readout", None)


@pytest.mark.slow
def test_loaded_in_a_clean_process(model: Path, expected: np.ndarray[Any, Any], tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", example())
    code = (
        "import sys, numpy, mlflow.pyfunc\n"
        "model, image, out = sys.argv[1:]\n"
        "numpy.save(out, mlflow.pyfunc.load_model(model).predict(numpy.load(image)))\n"
    )
    arguments = [str(model), str(tmp_path / "image.npy"), str(tmp_path / "map.npy")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "map.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_mlflow_models_predict(model: Path, expected: np.ndarray[Any, Any], tmp_path: Path) -> None:
    """With the example that MLflow itself offers for serving."""
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m", str(model), "-t", "json"]
    command += [
        "-i",
        str(model / "serving_input_example.json"),
        "-o",
        str(tmp_path / "out.json"),
        "--env-manager",
        "local",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = np.array(json.loads((tmp_path / "out.json").read_text())["predictions"], np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
