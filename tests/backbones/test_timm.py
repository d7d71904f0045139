from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import backbones.timm
from backbones._timm_structure import build, structure
from backbones.timm import LoadedTimm, Timm, run
from harness._backbone import BACKBONES
from harness.errors import RecipeError, WeightsError

CPU = torch.device("cpu")
MODELS = ["resnet18", "convnext_atto", "vit_tiny_patch16_224"]


@pytest.fixture(scope="module", params=MODELS)
def network(request: pytest.FixtureRequest) -> LoadedTimm:
    return Timm(model=request.param, weights="random").load(CPU)


def test_declared_channels_and_strides_are_those_of_the_output(network: LoadedTimm) -> None:
    layers = network.structure.layers
    features = network.forward(torch.rand(2, 3, 96, 128), [layer.name for layer in layers])
    assert {layer.name: (2, layer.channels, 96 // layer.stride, 128 // layer.stride) for layer in layers} == {
        name: tuple(x.shape) for name, x in features.items()
    }


def test_a_layer_alone_is_the_layer_among_all(network: LoadedTimm) -> None:
    names = [layer.name for layer in network.structure.layers]
    x = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    together = network.forward(x, names)
    for name in (names[0], names[-2]):
        assert torch.equal(network.forward(x, [name])[name], together[name])


def test_later_in_place_operations_do_not_reach_the_features(network: LoadedTimm) -> None:
    names = [layer.name for layer in network.structure.layers]
    x = torch.rand(1, 3, 64, 64)
    found = network.forward(x, names)
    in_place = [module for module in network.module.modules() if getattr(module, "inplace", False)]
    for module in in_place:
        module.inplace = False
    try:
        plain = network.forward(x, names)
    finally:
        for module in in_place:
            module.inplace = True
    assert all(torch.equal(found[name], plain[name]) for name in names)


def test_is_frozen_seeded_and_leaves_the_global_generator_alone(network: LoadedTimm) -> None:
    before = torch.random.get_rng_state()
    again = Timm(model=network.label, weights="random").load(CPU)
    assert torch.equal(before, torch.random.get_rng_state())
    assert again.weights == network.weights
    assert not any(parameter.requires_grad for parameter in network.module.parameters())
    assert not any(module.training for module in network.module.modules())
    assert Timm(model=network.label, weights="random", seed=1).find_weights() != network.weights


def test_a_vit_offers_every_block_and_rounds_sizes_to_its_patches() -> None:
    vit = Timm(model="vit_tiny_patch16_224", weights="random")
    assert vit.label == "vit_tiny_patch16_224"
    assert [layer.name for layer in vit.available_layers()] == [f"blocks.{index}" for index in range(12)]
    preprocessing = vit.load(CPU).preprocessing
    assert preprocessing.mean == (0.5, 0.5, 0.5)
    assert preprocessing.input_size((250, 320)) == (256, 320)


def test_a_vit_stops_after_the_deepest_layer_asked_for() -> None:
    network = Timm(model="vit_tiny_patch16_224", weights="random").load(CPU)
    network.module.model.blocks[3].register_forward_pre_hook(lambda *_: pytest.fail("went too deep"))
    assert list(network.forward(torch.rand(1, 3, 32, 48), ["blocks.2", "blocks.0"])) == ["blocks.2", "blocks.0"]


def test_channels_last_outputs_are_brought_to_channels_first() -> None:
    of = structure("swin_tiny_patch4_window7_224")
    assert of.channels_last
    features = run(
        build("swin_tiny_patch4_window7_224", of, on="meta"), of, torch.empty(1, 3, 96, 128, device="meta"), []
    )
    assert [tuple(x.shape) for x in features.values()] == [
        (1, layer.channels, 96 // layer.stride, 128 // layer.stride) for layer in of.layers
    ]


def test_layers_of_one_module_get_names_of_their_own() -> None:
    from backbones._timm_structure import _unique

    assert _unique(["a", "b", "a", "a"]) == ["a", "b", "a_2", "a_3"]


def test_networks_that_add_branches_take_whole_strides_only() -> None:
    assert structure("hrnet_w18_small").multiple_of == 32
    assert structure("resnet18").multiple_of == 1


def test_a_model_of_one_image_size_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'mixer_b16_224' cannot be used: .*one image size only .*224"):
        Timm(model="mixer_b16_224").available_layers()


@pytest.mark.parametrize(("model", "near"), [("resnet_18", "resnet18"), ("resnet18.a1_in2k", r"resnet18\.a1_in1k")])
def test_an_unknown_model_is_refused_with_near_matches(model: str, near: str) -> None:
    with pytest.raises(RecipeError, match=f"timm has no model '{model}'; did you mean .*{near}"):
        Timm(model=model).available_layers()


def test_an_unknown_layer_is_refused_with_near_matches(network: LoadedTimm) -> None:
    name = network.structure.layers[-1].name
    with pytest.raises(RecipeError, match=f"{network.label} has no layer '{name}9'; did you mean .*{name}"):
        network.forward(torch.rand(1, 3, 64, 64), [f"{name}9"])


@pytest.mark.parametrize("model", ["resnet18", "vit_tiny_patch16_224"])
def test_a_local_file_gives_the_features_of_the_model_it_was_saved_from(model: str, tmp_path: Path) -> None:
    saved: Any = timm.create_model(model).eval()
    torch.save({"state_dict": saved.state_dict()}, tmp_path / "net.pth")
    network = Timm(model=model, weights=str(tmp_path / "net.pth")).load(CPU)
    deepest = network.structure.layers[-1].name
    x = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        expected = saved.forward_intermediates(x, indices=1, intermediates_only=True)[-1]
    torch.testing.assert_close(network.forward(x, [deepest])[deepest], expected)
    assert network.weights.name == "net.pth"
    assert network.weights == Timm(model=model, weights=str(tmp_path / "net.pth")).find_weights()


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "net.pth")
    with pytest.raises(
        WeightsError, match=r"net\.pth is not a state dict of timm's resnet18: bn1\.bias is missing and"
    ):
        Timm(model="resnet18", weights=str(tmp_path / "net.pth")).load(CPU)


def test_without_internet_pretrained_says_what_to_do_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(backbones.timm, "cached_on_hub", lambda *_: None)
    started = time.monotonic()
    assert Timm(model="resnet18").find_weights() is None
    with pytest.raises(WeightsError, match=r"timm's resnet18 cannot be had: 127\.0\.0\.1 .*(\n.*)*weights: path/to"):
        Timm(model="resnet18").load(CPU)
    assert time.monotonic() - started < 10


def test_the_module_imports_without_timm() -> None:
    program = (
        "import sys; sys.modules['timm'] = None; import backbones.timm as t; print(t.Timm(model='resnet18').label)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "resnet18"


def test_weights_that_are_no_name_and_no_file_are_refused_before_anything_is_loaded() -> None:
    with pytest.raises(RecipeError, match="timm: weights 'imagenet' is none of pretrained, random, or a file"):
        Timm(model="resnet18", weights="imagenet")
    with pytest.raises(RecipeError, match="resnet18: weights 'imagenet'"):
        _ = BACKBONES.get("scales")(of="resnet18").label  # type: ignore[call-arg]
