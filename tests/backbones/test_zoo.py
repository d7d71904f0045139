"""Networks by their own names: what they declare is what they give, at any size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backbones import zoo
from backbones.timm import LoadedTimm
from harness import Backbone
from harness._backbone import BACKBONES
from harness.errors import RecipeError, WeightsError
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import read_cells
from harness.run import run

CPU = torch.device("cpu")
LIGHT = ("resnet18", "convnext_tiny", "vgg16", "dino_vits16")
ALL = (*LIGHT, "resnet101", "clip_vitb16")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def random(name: str) -> Backbone:
    return BACKBONES.get(name)(weights="random")  # type: ignore[call-arg]


@pytest.fixture(scope="module", params=[*LIGHT, *(pytest.param(n, marks=pytest.mark.slow) for n in ALL[len(LIGHT) :])])
def network(request: pytest.FixtureRequest) -> tuple[Backbone, LoadedTimm]:
    backbone = random(request.param)
    loaded = backbone.load(CPU)
    assert isinstance(loaded, LoadedTimm)
    return backbone, loaded


@pytest.mark.parametrize("asked", [(240, 320), (75, 130)])
def test_declared_channels_and_strides_are_those_of_the_output(
    network: tuple[Backbone, LoadedTimm], asked: tuple[int, int]
) -> None:
    backbone, loaded = network
    layers = backbone.available_layers()
    height, width = loaded.preprocessing.input_size(asked)
    features = loaded.forward(torch.rand(1, 3, height, width), [layer.name for layer in layers])
    assert list(features) == [layer.name for layer in layers]
    for layer in layers:
        _, channels, *sides = features[layer.name].shape
        assert channels == layer.channels
        for side, whole in zip(sides, (height, width), strict=True):  # a convolution's padding rounds up, pooling down
            assert side in (whole // layer.stride, -(-whole // layer.stride))


def test_it_goes_by_its_own_name(network: tuple[Backbone, LoadedTimm]) -> None:
    backbone, loaded = network
    assert backbone.label == backbone.name == loaded.label
    assert set(backbone.stages()) <= {layer.name for layer in backbone.available_layers()}
    assert loaded.weights.name == "random"
    expected = CLIP if backbone.name.startswith("clip") else IMAGENET
    assert (loaded.preprocessing.mean, loaded.preprocessing.std) == expected


def test_resnets_share_the_names_of_their_stages() -> None:
    for name in ("resnet18", "resnet101"):
        assert random(name).stages() == random("resnet50").stages()
    assert random("vgg16").stages() == ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
    assert random("dino_vits16").stages() == zoo.EVERY_THIRD
    assert len(random("dino_vits16").available_layers()) == 12


@pytest.mark.parametrize("name", LIGHT)
def test_a_layer_by_another_name_is_timms_own(name: str) -> None:
    """The renamed layers against the plain timm network with the same tensors."""
    backbone = random(name)
    assert isinstance(backbone, zoo.Named)
    loaded = backbone.load(CPU)
    assert isinstance(loaded, LoadedTimm)
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    names = [layer.name for layer in backbone.available_layers()]
    ours = loaded.forward(x, names)
    again = random(name).load(CPU).forward(x, names[-1:])
    assert torch.equal(again[names[-1]], ours[names[-1]])
    depths = [backbone.depth(layer) for layer in names]
    assert depths == sorted(depths)


def test_the_model_behind_a_name_is_fixed() -> None:
    with pytest.raises(RecipeError, match="model"):
        make_plan(parse_recipe(recipe([{"name": "resnet18", "model": "resnet34"}])))


def recipe(backbones: list[object]) -> dict[str, object]:
    return {
        "name": "zoo",
        "dataset": {"reader": "demo", "train": 6, "test": 3, "height": 96, "width": 128},
        "backbones": backbones,
        "layers": ["each"],
        "probes": ["ridge", "centre"],
        "grid": 16,
        "folds": 2,
        "precision": "fp32",
        "workers": 0,
        "pictures": 0,
    }


def test_a_network_whose_weights_cannot_be_had_is_skipped_and_the_rest_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched: the file that is asked for is not there."""
    missing = str(tmp_path / "missing.safetensors")
    plan = make_plan(parse_recipe(recipe([{"name": "vgg16", "weights": missing}, "pixels"])))
    outcome = run(plan, tmp_path, Silent())
    cells = read_cells(outcome.folder)
    vgg = cells[cells.backbone == "vgg16"]
    assert set(vgg.status) == {"skipped"}
    assert vgg.error.str.contains("missing.safetensors").all()
    assert set(cells[cells.backbone != "vgg16"].status) == {"finished"}
    with pytest.raises(WeightsError):  # without any network there is nothing to compare
        run(make_plan(parse_recipe(recipe([{"name": "vgg16", "weights": missing}]))), tmp_path / "alone", Silent())


def test_every_name_is_documented() -> None:
    for name in ALL:
        assert "weights" in (BACKBONES.get(name).__doc__ or "")
