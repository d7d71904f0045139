"""A saved cell predicts what its run predicted, for images of any size, or says why it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from harness._probe import PROBES, Context, Probe, Trainer, probe
from harness.data.images import read_image, resize_image
from harness.errors import ResultsError, WeightsError
from harness.export import export_cell, label_of
from harness.plan import make_plan
from harness.predictor import FILES, Predictor, is_cell
from harness.progress import Silent
from harness.readout import MapReadout
from harness.readout_files import load_readout
from harness.recipe import parse_recipe
from harness.results import cell_folder, read_cells
from harness.run import run
from harness.types import Batch

TINY: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"reader": "demo", "train": 6, "test": 3, "height": 97, "width": 131},
    "backbones": [{"name": "resnet50", "weights": "random"}],
    "layers": ["layer2", ["layer1", "layer2"]],
    "probes": [
        "ridge",
        {"name": "ridge", "position": True, "layers": ["layer1"]},
        {"name": "ridge", "target": "root", "centre": 0.5, "link": "rectified", "power": 1.25, "layers": ["layer1"]},
        {"name": "sgd", "loss": "kl", "epochs": 1, "layers": ["layer1"]},
        {"name": "pooled", "raster": [4, 6], "layers": ["layer1"]},
        "centre",
        "uniform",
        "observers",
    ],
    "metrics": ["cc"],
    "input": {"scale": 0.5},
    "grid": 16,
    "folds": 2,
    "workers": 0,
    "batch_size": 1,
    "pictures": 0,
    "precision": "fp32",
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_plan(parse_recipe(TINY)), tmp_path_factory.mktemp("run"), Silent()).folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in read_cells(folder).to_dict("records")]


def cell(folder: Path, probe: str, layers: str | None = None) -> Path:
    found = [r for r in rows(folder) if r["probe"].startswith(probe) and layers in (None, r["layers"])]
    return cell_folder(folder, found[0]["cell_key"])


def noise(height: int, width: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_maps_are_those_of_the_run_bit_by_bit(finished: Path, tmp_path: Path) -> None:
    test = make_plan(parse_recipe(TINY)).reader.read("test")
    compared = 0
    for row in rows(finished):
        if row["probe"] == "observers":
            continue
        out = tmp_path / row["cell_key"]
        export_cell(finished, row["cell_key"], "npy", out, Silent())
        predictor = Predictor.load(cell_folder(finished, row["cell_key"]), CPU)
        assert predictor.label == label_of(row)
        for file in test.files:
            pixels = read_image(file, 0).permute(1, 2, 0).numpy()
            found = predictor.map(pixels)
            assert found.dtype == np.float32
            assert np.array_equal(found, np.load(out / f"{file.stem}.npy"))
            compared += 1
    assert compared == 8 * 3


def test_a_copy_of_three_files_is_enough(finished: Path, tmp_path: Path) -> None:
    original = cell(finished, "ridge", "layer2")
    for name in FILES:
        shutil.copy(original / name, tmp_path)
    assert is_cell(tmp_path)
    image = noise(40, 50)
    assert np.array_equal(Predictor.load(tmp_path, CPU).map(image), Predictor.load(original, CPU).map(image))


@pytest.fixture(scope="module")
def predictor(finished: Path) -> Predictor:
    return Predictor.load(cell(finished, "ridge", "layer2"), CPU)


@settings(max_examples=40)
@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 9))
def test_any_size_equals_the_plain_computation(predictor: Predictor, height: int, width: int, seed: int) -> None:
    """From bytes to the map with nothing of the engine but the network and the saved weights."""
    image = noise(height, width, seed)
    assert predictor.extractor is not None
    network, weight = predictor.extractor.backbone, predictor.readout.state()[0]["weight.layer2"]
    target = (max(1, round(height * 0.5)), max(1, round(width * 0.5)))
    small = resize_image(torch.from_numpy(image).permute(2, 0, 1), target)
    features = network.forward(network.preprocessing(small[None], torch.float32), ["layer2"])["layer2"]
    native = torch.einsum("bchw,c->bhw", features, weight)[:, None] + predictor.readout.state()[1]["bias"]
    grid = (max(1, round(height / 16)), max(1, round(width / 16)))
    coarse = torch.nn.functional.adaptive_avg_pool2d(native, grid) if exceeds(native.shape[-2:], grid) else native
    on_grid = torch.nn.functional.interpolate(coarse, grid, mode="bilinear")
    full = torch.nn.functional.interpolate(on_grid, (height, width), mode="bilinear")[0, 0]
    found = predictor.map(image)
    assert found.shape == (height, width)
    if overlapping(native.shape[-2:], grid):  # adaptive pooling and area averages differ where cells are cut
        return
    torch.testing.assert_close(torch.from_numpy(found), full, rtol=1e-4, atol=1e-4 * float(full.abs().max()))


def exceeds(size: tuple[int, ...], grid: tuple[int, int]) -> bool:
    return size[0] > grid[0] or size[1] > grid[1]


def overlapping(size: tuple[int, ...], grid: tuple[int, int]) -> bool:
    return exceeds(size, grid) and any(n % g for n, g in zip(size, grid, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (1, 900), (2000, 3), (601, 799)])
@pytest.mark.parametrize("probe", ["ridge", "sgd", "pooled", "centre", "uniform"])
def test_odd_tiny_and_long_images(finished: Path, probe: str, size: tuple[int, int]) -> None:
    found = Predictor.load(cell(finished, probe), CPU).map(noise(*size))
    assert found.shape == size
    assert np.isfinite(found).all()


def test_several_images_are_predicted_as_if_alone(predictor: Predictor) -> None:
    images = np.stack([noise(33, 47, seed) for seed in range(3)])
    found = predictor.map(images)
    assert found.shape == (3, 33, 47)
    assert np.array_equal(found, np.stack([predictor.map(image) for image in images]))
    assert predictor.map(images[:0]).shape == (0, 33, 47)


def test_files_of_any_mode(predictor: Predictor, tmp_path: Path) -> None:
    """Grey, transparent, turned by EXIF: what `read_image` makes of them, the raster as it is stored."""
    rgb = noise(24, 36)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).convert("L").save(tmp_path / "grey.png")
    Image.fromarray(rgb).convert("RGBA").save(tmp_path / "clear.png")
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    maps = {file.stem: predictor.map(read_image(file, 0).permute(1, 2, 0).numpy()) for file in tmp_path.iterdir()}
    assert {found.shape for found in maps.values()} == {(24, 36)}
    assert np.array_equal(maps["turned"], predictor.map(rgb))
    assert np.array_equal(maps["clear"], maps["turned"])


@pytest.mark.parametrize(
    "image",
    [noise(4, 4).astype(np.float32), noise(4, 4)[..., :2], noise(4, 4)[..., 0], np.zeros((0, 4, 3), np.uint8)],
    ids=["float", "two channels", "grey", "empty"],
)
def test_what_is_no_image_is_refused(predictor: Predictor, image: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"\(height, width, 3\) RGB bytes"):
        predictor.map(image)


def test_the_cell_knows_what_it_was_trained_on(predictor: Predictor) -> None:
    assert predictor.trained_on == ((97, 131), (97, 131))


def test_observers_are_refused(finished: Path) -> None:
    with pytest.raises(ResultsError, match="held-out people's own gaze"):
        Predictor.load(cell(finished, "observers"), CPU)


def changed(original: Path, folder: Path, **changes: Any) -> Path:
    for name in FILES:
        shutil.copy(original / name, folder)
    about = json.loads((folder / "cell.json").read_text())
    (folder / "cell.json").write_text(json.dumps({**about, **changes}))
    return folder


def test_other_weights_are_refused(finished: Path, tmp_path: Path) -> None:
    network = {"name": "resnet50", "weights": "random", "seed": 1}
    folder = changed(cell(finished, "ridge"), tmp_path, network=network)
    with pytest.raises(WeightsError, match=r"weights random \(random\(seed=0\).*here `weights: random`.*seed=1"):
        Predictor.load(folder, CPU)


def test_another_preparation_of_images_is_refused(finished: Path, tmp_path: Path) -> None:
    original = cell(finished, "ridge")
    resolved = json.loads((original / "cell.json").read_text())["resolved"]
    resolved["preprocessing"]["divide_by"] = 1.0
    with pytest.raises(ResultsError, match="prepares images otherwise"):
        Predictor.load(changed(original, tmp_path, resolved=resolved), CPU)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"label": "x", "resolved": {"probe": {"name": "ridge"}}}'])
def test_a_broken_cell_file_is_named(finished: Path, tmp_path: Path, text: str) -> None:
    folder = changed(cell(finished, "ridge"), tmp_path)
    (folder / "cell.json").write_text(text)
    with pytest.raises(ResultsError, match=r"cell\.json"):
        Predictor.load(folder, CPU)


def test_a_missing_cell_says_where_cells_are(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="results/RECIPE/cells/KEY"):
        Predictor.load(tmp_path, CPU)


def test_the_resolved_name_of_the_weights_is_tried(finished: Path, tmp_path: Path) -> None:
    """`imagenet` may be other weights on this machine; the cell knows what it became."""
    from safetensors.torch import save_file

    from harness._backbone import BACKBONES

    asked: Any = BACKBONES.get("resnet50")
    save_file(dict(asked(weights="random", seed=1).load(CPU).module.state_dict()), tmp_path / "other.safetensors")
    network = {"name": "resnet50", "weights": str(tmp_path / "other.safetensors"), "seed": 0}
    original, folder = cell(finished, "ridge", "layer2"), tmp_path / "cell"
    folder.mkdir()
    image = noise(20, 20)
    found = Predictor.load(changed(original, folder, network=network), CPU).map(image)
    assert np.array_equal(found, Predictor.load(original, CPU).map(image))


def test_a_readout_of_a_plugin_s_own_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is loaded by the probe's name before its readout is."""

    class Striped(MapReadout, kind="striped"):
        def logits(self, batch: Batch) -> Tensor:
            return super().logits(batch) * torch.arange(3)[None, None, :]

    class StripedTrainer(Trainer):
        def update(self, batch: Batch) -> None:
            pass

        def end_pass(self) -> bool:
            return False

        def readout(self) -> Striped:
            return Striped(torch.ones(2, 3))

    before = dict(PROBES._registered)
    try:

        @probe("striped")
        class Stripes(Probe):
            reads = "gaze"

            def trainer(self, context: Context) -> Trainer:
                return StripedTrainer()

        folder = run(
            make_plan(parse_recipe({**TINY, "probes": ["striped"], "backbones": []})), tmp_path, Silent()
        ).folder
        own = cell_folder(folder, rows(folder)[0]["cell_key"])
        monkeypatch.setattr("harness.readout._KINDS", _without("striped"))
        with pytest.raises(ResultsError, match="load the plugin"):
            load_readout(own)

        def load(name: str) -> Any:  # what importing the plugin's module does
            from harness.readout import _KINDS

            _KINDS["striped"] = Striped
            return Stripes

        monkeypatch.setattr(PROBES, "get", load)
        assert np.allclose(Predictor.load(own, CPU).map(noise(2, 3)), [[0, 1, 2]] * 2)
    finally:
        PROBES._registered = before


def _without(kind: str) -> dict[str, Any]:
    from harness.readout import _KINDS

    known: Mapping[str, Any] = _KINDS
    return {name: cls for name, cls in known.items() if name != kind}
