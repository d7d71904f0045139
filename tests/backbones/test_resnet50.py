from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from backbones._resnet50_weights import Checkpoint, find
from backbones.resnet50 import CAFFE_INPUT, EVERYWHERE, LAYERS, LoadedResNet50, ResNet50, build, make_dense, walk
from harness import IMAGENET
from harness.errors import RecipeError

CPU = torch.device("cpu")
NAMES = [layer.name for layer in LAYERS]
WITHIN = [layer.name for layer in EVERYWHERE if layer.name not in NAMES]


@pytest.fixture(scope="module")
def network() -> LoadedResNet50:
    return ResNet50(weights="random", seed=3).load(CPU)


def images(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def out_of_place(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net


def plain_features(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """torchvision's own forward pass without in-place operations, features caught by hooks."""
    net = out_of_place(net)
    caught: dict[str, Tensor] = {}
    for name in NAMES:
        module = net.get_submodule("relu" if name == "stem" else name)
        module.register_forward_hook(lambda _m, _i, out, name=name: caught.__setitem__(name, out.clone()))
    with torch.inference_mode():
        net(x)
    return caught


def test_declares_stem_blocks_and_stages_shallow_to_deep() -> None:
    assert NAMES[:5] == ["stem", "layer1.0", "layer1.1", "layer1.2", "layer1"]
    assert len(NAMES) == 1 + 16 + 4
    strides = [layer.stride for layer in LAYERS]
    assert strides == sorted(strides)
    assert ResNet50().stages() == ("stem", "layer1", "layer2", "layer3", "layer4")


@pytest.mark.parametrize("size", [(224, 320), (97, 131)])
def test_declared_channels_and_strides_are_those_of_the_output(network: LoadedResNet50, size: tuple[int, int]) -> None:
    features = network.forward(images(*size), [*NAMES, *WITHIN])
    for layer in EVERYWHERE:
        expected = (1, layer.channels, -(-size[0] // layer.stride), -(-size[1] // layer.stride))
        assert features[layer.name].shape == expected, layer


def test_features_are_those_of_torchvisions_own_forward_pass(network: LoadedResNet50) -> None:
    x = images(96, 128)
    expected = plain_features(network.module, x)
    features = network.forward(x, NAMES)
    for name in NAMES:
        assert torch.equal(features[name], expected[name]), name
        assert features[name].min() >= 0


def test_points_within_blocks_are_those_of_torchvisions_feature_extraction(network: LoadedResNet50) -> None:
    x = images(96, 128)
    expected = create_feature_extractor(out_of_place(network.module), WITHIN)(x)
    features = network.forward(x, [*WITHIN, *NAMES])
    assert len(WITHIN) == 2 * 16
    for name in WITHIN:
        assert torch.equal(features[name], expected[name]), name
    assert features["layer4.1.add"].min() < 0
    assert torch.equal(features["layer4.1.add"].relu(), features["layer4.1"])
    # the same bits, whichever blocks are gone through by hand
    for name, found in network.forward(x, NAMES).items():
        assert torch.equal(found, features[name]), name


def test_points_within_blocks_lie_where_their_block_does_and_are_asked_for_by_name() -> None:
    backbone = ResNet50()
    assert backbone.depth("layer3.5.add") == backbone.depth("layer3.5.relu_1") == backbone.depth("layer3.5")
    assert backbone.blocks() == tuple(name for name in NAMES if name == "stem" or "." in name)
    assert len(backbone.blocks()) == 17
    assert {layer.name for layer in backbone.available_layers()} == {*NAMES, *WITHIN}


def test_answers_in_the_order_asked_and_accepts_nothing_asked(network: LoadedResNet50) -> None:
    assert list(network.forward(images(64, 64), ["layer2", "stem"])) == ["layer2", "stem"]
    assert network.forward(images(64, 64), []) == {}


def test_stops_after_the_deepest_layer_asked_for(network: LoadedResNet50) -> None:
    reached: list[str] = []
    handles = [
        network.module.get_submodule(name).register_forward_hook(lambda *_, name=name: reached.append(name))
        for name in ("layer1.2", "layer2.0", "layer2.1", "layer3", "layer4")
    ]
    try:
        network.forward(images(64, 64), ["layer2.0", "stem"])
    finally:
        for handle in handles:
            handle.remove()
    assert reached == ["layer1.2", "layer2.0"]


def test_unknown_layer_is_refused_with_near_matches(network: LoadedResNet50) -> None:
    with pytest.raises(RecipeError, match=r"no layer 'layer3\.9'; did you mean layer3"):
        network.forward(images(64, 64), ["layer1", "layer3.9"])


def test_is_frozen_and_in_eval_mode(network: LoadedResNet50) -> None:
    assert not any(parameter.requires_grad for parameter in network.module.parameters())
    assert not any(module.training for module in network.module.modules())
    assert not any(tensor.is_meta for tensor in network.module.state_dict().values())
    assert not network.forward(images(64, 64), ["stem"])["stem"].requires_grad


def test_may_be_moved_to_channels_last_and_bf16(network: LoadedResNet50) -> None:
    moved = ResNet50(weights="random", seed=3).load(CPU)
    x = images(96, 128)
    expected = network.forward(x, ["layer4"])["layer4"]
    moved.module.double()  # in float32 the other order of the sums alone is 1e-4 now and then
    plain = moved.forward(x.double(), ["layer4"])["layer4"]
    moved.module.to(memory_format=torch.channels_last)
    torch.testing.assert_close(moved.forward(x.double(), ["layer4"])["layer4"], plain, rtol=1e-6, atol=1e-6)
    moved.module.to(dtype=torch.bfloat16)
    found = moved.forward(x.bfloat16(), ["layer4"])["layer4"].float()
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.99


def test_same_seed_same_bits_and_no_trace_in_the_global_state(network: LoadedResNet50) -> None:
    before = torch.random.get_rng_state()
    again = ResNet50(weights="random", seed=3).load(CPU)
    other = ResNet50(weights="random", seed=4).load(CPU)
    assert torch.equal(before, torch.random.get_rng_state())
    assert again.weights == network.weights
    assert torch.equal(again.module.layer4[2].conv3.weight, network.module.layer4[2].conv3.weight)
    assert other.weights.sha256 != network.weights.sha256
    assert (other.weights.name, ResNet50(weights="random").load(CPU).weights.name) == ("random-4", "random")


def test_original_network_has_its_strides_in_the_first_convolution(network: LoadedResNet50) -> None:
    random = find("random", 3)
    assert random is not None
    original = build(Checkpoint("caffe", "", random.tensors, is_caffe=True))
    for stage in (original.layer2, original.layer3, original.layer4):
        assert (stage[0].conv1.stride, stage[0].conv2.stride) == ((2, 2), (1, 1))
    assert original.layer1[0].conv1.stride == (1, 1)
    assert original.bn1.eps == 1.001e-5
    loaded = LoadedResNet50(original, network.weights, CAFFE_INPUT, CPU)
    x = images(97, 131)
    found, torchvision = loaded.forward(x, NAMES), network.forward(x, NAMES)
    assert {name: f.shape for name, f in found.items()} == {name: f.shape for name, f in torchvision.items()}
    assert not torch.allclose(found["layer2"], torchvision["layer2"])


def test_preprocessing_numbers() -> None:
    pixel = torch.tensor([255, 128, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    caffe = CAFFE_INPUT(pixel, torch.float32).flatten()
    torch.testing.assert_close(caffe, torch.tensor([0 - 103.939, 128 - 116.779, 255 - 123.68]))
    torchvision = IMAGENET(pixel, torch.float32).flatten()
    expected = torch.tensor([(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225])
    torch.testing.assert_close(torchvision, expected)


def test_misspelt_weights_are_refused_before_anything_is_loaded() -> None:
    with pytest.raises(RecipeError, match="'imagnet' is none of imagenet"):
        ResNet50(weights="imagnet")


def test_unnormalised_images_enter_as_0_to_1() -> None:
    plain = ResNet50(weights="random", normalise=False)
    assert plain.label == "resnet50-unnormalised"
    pixels = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2) * 20
    torch.testing.assert_close(plain.load(CPU).preprocessing(pixels, torch.float32), pixels / 255)


@pytest.mark.parametrize("published", [False, True], ids=["torchvision", "he2015"])
@pytest.mark.parametrize("output_stride", [4, 8, 16])
def test_a_dense_network_has_the_strided_ones_features_among_its_own(published: bool, output_stride: int) -> None:
    tensors = {
        name: tensor.double() for name, tensor in ResNet50(weights="random").load(CPU).module.state_dict().items()
    }
    nets = [build(Checkpoint("random", "a test", tensors, is_caffe=published)) for _ in range(2)]
    make_dense(nets[1], output_stride)
    x = torch.randn(1, 3, 97, 131, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        strided, dense = (dict(walk(net, x)) for net in nets)
    for layer in LAYERS:
        step = max(1, layer.stride // output_stride)
        torch.testing.assert_close(dense[layer.name][..., ::step, ::step], strided[layer.name], rtol=1e-9, atol=1e-9)


def test_a_dense_layer_at_the_other_positions_sees_the_shifted_image(network: LoadedResNet50) -> None:
    dense = ResNet50(weights="random", seed=3, output_stride=16).load(CPU)
    x = images(512, 512)
    shifted = torch.cat([x[..., 16:, :], torch.zeros_like(x[..., :16, :])], dim=-2)
    here = dense.forward(x, ["layer4.0"])["layer4.0"]
    there = network.forward(shifted, ["layer4.0"])["layer4.0"]
    inner = slice(5, 11)  # away from the borders, where the shifted image ends elsewhere
    torch.testing.assert_close(here[..., 1::2, ::2][..., inner, inner], there[..., inner, inner], rtol=1e-4, atol=1e-4)


def test_a_dense_network_declares_its_strides_and_says_so_in_its_name() -> None:
    dense = ResNet50(weights="random", output_stride=8)
    assert dense.label == "resnet50-stride8"
    assert {layer.name: layer.stride for layer in dense.available_layers()}["layer4"] == 8
    assert ResNet50(weights="random", normalise=False, output_stride=16).label == "resnet50-unnormalised-stride16"


@pytest.mark.parametrize("stride", [0, 2, 12, 64])
def test_refuses_an_output_stride_that_cannot_be(stride: int) -> None:
    with pytest.raises(RecipeError, match="none of 4, 8, 16, 32"):
        ResNet50(output_stride=stride)
