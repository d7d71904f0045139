"""A cell's readout as an MLflow model: images in, saliency maps out; its files are JSON and safetensors, no pickle."""

from __future__ import annotations

import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness._backbone import BACKBONES
from harness._probe import PROBES
from harness.predictor import FILES, Predictor, read_about, saved_readout
from harness.tracking.store import keep_quiet

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from mlflow.models import ModelSignature
    from numpy import ndarray

LOADER = "harness.tracking.model"
"""The module whose `_load_pyfunc` MLflow calls."""
PACKAGES = ("salience-probe", "torch", "torchvision", "numpy", "safetensors", "mlflow")
EXAMPLE_SIZE = (32, 48)


def save_model(cell_folder: Path, path: Path) -> None:
    """Write a cell as an MLflow model folder, `path`, which must not exist.

    Raises ResultsError for what is no cell, or one (of observers) that predicts from held-out gaze.
    """
    keep_quiet()
    import mlflow.pyfunc

    about = read_about(cell_folder)
    saved_readout(cell_folder)
    with tempfile.TemporaryDirectory(prefix="salprobe-") as name:
        data = Path(name) / "readout"
        data.mkdir()
        for file in FILES:
            shutil.copyfile(cell_folder / file, data / file)
        mlflow.pyfunc.save_model(
            str(path),
            loader_module=LOADER,
            data_path=str(data),
            signature=signature(),
            input_example=example(),
            pip_requirements=requirements(about),
            metadata={"cell_key": about["cell_key"], "label": about["label"]},
        )


def signature() -> ModelSignature:
    """RGB bytes (b, H, W, 3) to float32 maps (b, H, W)."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))
    return ModelSignature(Schema([images]), Schema([TensorSpec(np.dtype(np.float32), (-1, -1, -1))]))


def example() -> UInt8[ndarray, "1 h w 3"]:
    """A small generated image: a bright disc on a slope of colour."""
    height, width = EXAMPLE_SIZE
    y, x = np.mgrid[0:height, 0:width]
    slope = np.stack([x * 255 // width, y * 255 // height, 255 - x * 255 // width], axis=-1)
    disc = (y - height / 3) ** 2 + (x - width * 2 / 3) ** 2 < (height / 6) ** 2
    image: UInt8[ndarray, "1 h w 3"] = np.where(disc[..., None], 255, slope // 2).astype(np.uint8)[None]
    return image


def requirements(about: dict[str, Any]) -> list[str]:
    """What a process needs to load the cell: pinned, with the packages that its probe and its network come from."""
    plugins = [PROBES.origin(about["resolved"]["probe"]["name"])]
    plugins += [BACKBONES.origin(about["network"]["name"])] if about["network"] else []
    return [f"{name}=={found}" for name in dict.fromkeys((*PACKAGES, *plugins)) if (found := _version(name))]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class PyfuncModel:
    """What MLflow calls: `predict` of a batch of images."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(
        self, model_input: UInt8[ndarray, "b h w 3"], params: dict[str, Any] | None = None
    ) -> Float[ndarray, "b h w"]:
        """Their maps."""
        return self.predictor.map(model_input)


def _load_pyfunc(data_path: str) -> PyfuncModel:
    """MLflow's door: the model from its data, on the best device there is."""
    from harness.machine import choose_device

    return PyfuncModel(Predictor.load(Path(data_path), choose_device("auto")))
