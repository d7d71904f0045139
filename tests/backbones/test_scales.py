"""Several input sizes as layers: each against the network run alone on the resized image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import interpolate

from backbones.resnet50 import ResNet50
from backbones.scales import LoadedScales, Scales
from harness._plugin import as_entry
from harness.errors import RecipeError
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import read_cells
from harness.run import run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def loaded() -> LoadedScales:
    return Scales(weights="random", scales=(1.0, 0.5, 0.25)).load(CPU)


def test_each_layer_is_the_networks_on_the_resized_image(loaded: LoadedScales) -> None:
    images = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    found = loaded.forward(images, ["layer2@0.5", "layer1@1", "layer1@0.5"])
    assert list(found) == ["layer2@0.5", "layer1@1", "layer1@0.5"]
    alone = ResNet50(weights="random").load(CPU)
    small = interpolate(images, (48, 64), mode="bilinear", antialias=True)
    assert torch.equal(found["layer1@1"], alone.forward(images, ["layer1"])["layer1"])
    for name in ("layer1", "layer2"):
        assert torch.equal(found[f"{name}@0.5"], alone.forward(small, [name])[name])


def test_declared_channels_and_strides_are_those_of_the_output(loaded: LoadedScales) -> None:
    backbone = Scales(weights="random", scales=(1.0, 0.5, 0.25))
    layers = [layer for layer in backbone.available_layers() if layer.name in backbone.stages()]
    found = loaded.forward(torch.rand(1, 3, 128, 256), [layer.name for layer in layers])
    shapes = {layer.name: (1, layer.channels, 128 // layer.stride, 256 // layer.stride) for layer in layers}
    assert {name: tuple(x.shape) for name, x in found.items()} == shapes
    assert backbone.label == "resnet50@1+0.5+0.25"
    assert backbone.depth("layer1@0.5") == ResNet50().depth("layer1")
    assert backbone.find_weights() == ResNet50(weights="random").find_weights() == loaded.weights


@pytest.mark.parametrize("scales", [(), (0.0,), (5.0,), (0.5, 0.5)])
def test_scales_that_cannot_be(scales: tuple[float, ...]) -> None:
    with pytest.raises(RecipeError, match="must be different numbers"):
        Scales(scales=scales)


def test_networks_that_cannot_be_wrapped() -> None:
    with pytest.raises(RecipeError, match="cannot look through itself"):
        Scales(of="scales")
    with pytest.raises(RecipeError, match="timm cannot be made from weights alone"):
        Scales(of="timm", weights="random").available_layers()
    with pytest.raises(RecipeError, match="layer1"):
        Scales(weights="random").load(CPU).forward(torch.rand(1, 3, 64, 64), ["layer1"])


def test_one_ridge_reads_several_scales(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {
        "name": "scales",
        "dataset": {"reader": "demo", "train": 8, "test": 3, "height": 96, "width": 128},
        "backbones": [{"name": "scales", "weights": "random", "scales": [1.0, 0.5]}],
        "layers": ["layer1@1", ["layer1@1", "layer1@0.5"]],
        "probes": ["ridge"],
        "grid": 16,
        "folds": 2,
        "precision": "fp32",
        "workers": 0,
        "pictures": 0,
    }
    cells = read_cells(run(make_plan(parse_recipe(recipe)), tmp_path, Silent()).folder)
    assert cells.status.tolist() == ["finished", "finished"]
    assert cells.backbone.unique().tolist() == ["resnet50@1+0.5"]
    assert cells.cc.nunique() == 2


def test_mirrored_layers_are_the_mean_of_both_sights(loaded: LoadedScales) -> None:
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    backbone = Scales(weights="random", scales=(1.0, 0.5), mirror=True)
    assert backbone.label == "resnet50@1+0.5+mirror"
    found = backbone.load(CPU).forward(images, ["layer1@0.5", "layer3@1"])
    for name, features in found.items():
        there, back = loaded.forward(images, [name])[name], loaded.forward(images.flip(-1), [name])[name].flip(-1)
        torch.testing.assert_close(features, (there + back) / 2, rtol=1e-4, atol=1e-5)
    mirrored = backbone.load(CPU).forward(images.flip(-1), ["layer3@1"])["layer3@1"]
    torch.testing.assert_close(mirrored.flip(-1), found["layer3@1"], rtol=1e-4, atol=1e-4)


def test_an_added_parameter_leaves_keys_as_they_were() -> None:
    assert "mirror" not in as_entry(Scales())
    assert as_entry(Scales(mirror=True))["mirror"] is True


def test_a_stride_makes_the_deep_layers_of_every_scale_dense() -> None:
    backbone = Scales(weights="random", scales=(1.0, 0.5, 0.125), stride=16)
    assert backbone.label == "resnet50@1+0.5+0.125+stride16"
    strides = {layer.name: layer.stride for layer in backbone.available_layers()}
    assert [strides[name] for name in ("layer2@1", "layer4@1", "layer3@0.5", "layer4@0.5")] == [8, 16, 16, 16]
    assert strides["layer4@0.125"] == 32  # as far as the network goes
    images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    loaded = backbone.load(CPU)
    found = loaded.forward(images, ["layer4.2@1", "layer4.2@0.5"])
    assert {name: tuple(x.shape[-2:]) for name, x in found.items()} == {"layer4.2@1": (8, 8), "layer4.2@0.5": (8, 8)}
    small = interpolate(images, (64, 64), mode="bilinear", antialias=True)
    dense = ResNet50(weights="random", output_stride=8).load(CPU)
    assert torch.equal(found["layer4.2@0.5"], dense.forward(small, ["layer4.2"])["layer4.2"])
    loaded.compile()
    assert isinstance(loaded.module, torch.nn.ModuleList)
    assert len(loaded.module) == 3


def test_a_stride_needs_a_network_that_has_one() -> None:
    with pytest.raises(RecipeError, match="stride 0 must be positive"):
        Scales(stride=0)
    with pytest.raises(RecipeError, match="cannot be made from weights, output_stride alone"):
        Scales(of="resnet18", weights="random", stride=16).available_layers()
