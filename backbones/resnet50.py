"""ResNet-50 (He et al. 2015), features after the ReLU of its stem and of every residual block, and within blocks."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models import resnet50 as torchvision_resnet50
from torchvision.models.resnet import Bottleneck

from backbones._layers import check_layers
from backbones._resnet50_weights import FILES, NAMES, Checkpoint, find, get
from harness import IMAGENET, Backbone, LoadedBackbone, Preprocessing, Weights, added, backbone
from harness.errors import RecipeError
from harness.types import LayerSpec

if TYPE_CHECKING:
    from jaxtyping import Float

LOG = logging.getLogger("salprobe.backbones")
STRIDE = 32
OUTPUT_STRIDES = (4, 8, 16, STRIDE)
BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}
CAFFE_INPUT = Preprocessing(mean=(123.68, 116.779, 103.939), std=(1.0, 1.0, 1.0), divide_by=1.0, channel_order="bgr")
CAFFE_BN_EPS = 1.001e-5
WITHIN = {"relu_1": 4, "add": 1}
"""Points within a block, as torchvision's feature extraction names them, and the share of its channels that they have.

`relu_1`: after the ReLU of the 3x3 convolution. `add`: the sum with the shortcut, which the last ReLU cuts off at 0.
"""


def _declared(output_stride: int = STRIDE) -> Iterator[LayerSpec]:
    yield LayerSpec("stem", channels=64, stride=2)
    for depth, (stage, blocks) in enumerate(BLOCKS.items()):
        channels, stride = 256 * 2**depth, min(4 * 2**depth, output_stride)
        for block in (f"{stage}.{index}" for index in range(blocks)):
            yield from (LayerSpec(f"{block}.{point}", channels // share, stride) for point, share in WITHIN.items())
            yield LayerSpec(block, channels, stride)
        yield LayerSpec(stage, channels, stride)


def _block_around(layer: str) -> str | None:
    """The block that a point within one belongs to; None for other layers."""
    block, _, point = layer.rpartition(".")
    return block if point in WITHIN else None


EVERYWHERE = tuple(_declared())
LAYERS = tuple(layer for layer in EVERYWHERE if _block_around(layer.name) is None)
"""The stem, the blocks and the stages; EVERYWHERE has the points within blocks as well."""
_POINTS = [layer.name for layer in LAYERS if layer.name not in BLOCKS]
_LAST = {stage: f"{stage}.{blocks - 1}" for stage, blocks in BLOCKS.items()}
_DEPTHS = {
    layer.name: _POINTS.index(_block_around(layer.name) or _LAST.get(layer.name, layer.name)) for layer in EVERYWHERE
}


@backbone("resnet50")
class ResNet50(Backbone):
    """ResNet-50 (He et al. 2016), stem and blocks as layers.

    `weights`: imagenet, imagenet1k_v1, imagenet1k_v2, caffe, random (with `seed`), or the file of a state dict.
    """

    weights: str = "imagenet"
    seed: int = 0
    normalise: bool = True
    """False leaves out the mean and standard deviation the weights were trained with, as the original study did."""
    output_stride: int = added(STRIDE)
    """No layer is coarser than this: 8 and 16 give the same frozen features at more positions, by dilation."""

    def __post_init__(self) -> None:
        """Raises RecipeError for a `weights` that is neither a known name nor a file's, or a stride there is not."""
        if self.output_stride not in OUTPUT_STRIDES:
            allowed = ", ".join(map(str, OUTPUT_STRIDES))
            raise RecipeError(f"resnet50: output_stride {self.output_stride!r} is none of {allowed}")
        if self.weights not in NAMES and Path(self.weights).suffix not in FILES:
            allowed = f"{', '.join(NAMES)}, or a file ({', '.join(FILES)})"
            raise RecipeError(f"resnet50: weights {self.weights!r} is none of {allowed}")

    @property
    def label(self) -> str:
        """Says where images enter it unnormalised, and where its deep layers are denser than trained."""
        unnormalised = [] if self.normalise else ["unnormalised"]
        dense = [] if self.output_stride == STRIDE else [f"stride{self.output_stride}"]
        return "-".join([self.name, *unnormalised, *dense])

    def available_layers(self) -> tuple[LayerSpec, ...]:
        """`stem` (before max-pooling), every block, and `layer1`..`layer4`, each its last block by another name.

        Within a block `layer3.5.relu_1` follows the 3x3 convolution, `layer3.5.add` comes before the last ReLU.
        """
        return tuple(_declared(self.output_stride))

    def blocks(self) -> tuple[str, ...]:
        """The stem and every block, each by one name."""
        return tuple(_POINTS)

    def stages(self) -> tuple[str, ...]:
        """`all` means the stages; their inner blocks are asked for by name."""
        return ("stem", *BLOCKS)

    def depth(self, layer: str) -> int:
        """0 for the stem, 1 to 16 for the blocks and what is within them; a stage lies where its last block does."""
        return _DEPTHS[layer]

    def find_weights(self) -> Weights | None:
        """Of the checkpoint that `load` would use, if it is on this machine."""
        found = find(self.weights, self.seed)
        return found.describe() if found is not None else None

    def load(self, device: torch.device) -> LoadedResNet50:
        """Fetches the weights where needed; raises WeightsError."""
        checkpoint = get(self.weights, self.seed)
        weights = checkpoint.describe()
        LOG.info("resnet50 uses %s (asked for: %s) from %s", weights.name, self.weights, weights.source)
        LOG.info("resnet50 tensors have SHA-256 %s", weights.sha256)
        preprocessing = CAFFE_INPUT if checkpoint.is_caffe else IMAGENET
        if not self.normalise:
            preprocessing = replace(preprocessing, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        net = build(checkpoint)
        make_dense(net, self.output_stride)
        return LoadedResNet50(net.to(device), weights, preprocessing, device)


class LoadedResNet50(LoadedBackbone):
    """Walks through torchvision's modules and stops after the deepest layer asked for."""

    def __init__(self, module: ResNet, weights: Weights, preprocessing: Preprocessing, device: torch.device) -> None:
        self.module, self.weights, self.preprocessing, self.device = module, weights, preprocessing, device

    def forward(
        self, images: Float[Tensor, "b 3 h w"], layers: Sequence[str]
    ) -> Mapping[str, Float[Tensor, "b c h w"]]:
        """Raises RecipeError for an unknown layer."""
        check_layers(layers, EVERYWHERE, "resnet50")
        missing, found = set(layers), {}
        with torch.inference_mode():
            steps = walk(self.module, images, {_block_around(name) for name in layers})
            while missing:
                name, features = next(steps)
                if name in missing:
                    missing.remove(name)
                    found[name] = features
        return {name: found[name] for name in layers}

    def compile(self) -> None:
        """Block by block, because `forward` stops after the deepest layer asked for."""
        for stage in BLOCKS:
            for block in self.module.get_submodule(stage).children():
                block.compile()


def walk(net: ResNet, x: Tensor, within: Collection[str | None] = ()) -> Iterator[tuple[str, Tensor]]:
    """Every layer's name and features, shallow to deep, each computed when it is asked for.

    Of the blocks `within` also those inside, which takes them step by step.

    No in-place operation of a block touches the block's own input, so what was yielded stays as it is.
    """
    x = net.relu(net.bn1(net.conv1(x)))
    yield "stem", x
    x = net.maxpool(x)
    for stage in BLOCKS:
        for index, block in enumerate(net.get_submodule(stage).children()):
            name = f"{stage}.{index}"
            if name in within:
                for point, inner in _through(cast("Bottleneck", block), x):
                    yield f"{name}.{point}", inner
                x = torch.relu(inner)
            else:
                x = block(x)
            yield name, x
        yield stage, x


def _through(block: Bottleneck, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What torchvision's own block computes, up to its last ReLU."""
    inner = block.relu(block.bn1(block.conv1(x)))
    inner = block.relu(block.bn2(block.conv2(inner)))
    yield "relu_1", inner
    inner = block.bn3(block.conv3(inner))
    yield "add", inner + (x if block.downsample is None else block.downsample(x))


def build(checkpoint: Checkpoint) -> ResNet:
    """torchvision's network around the tensors: frozen, in eval mode; drops the classifier if it has no tensors."""
    with torch.device("meta"):
        net = torchvision_resnet50(weights=None)
    if checkpoint.is_caffe:
        as_published(net)
    if "fc.weight" not in checkpoint.tensors:
        net.fc = nn.Identity()
    net.load_state_dict(checkpoint.tensors, assign=True)
    return net.requires_grad_(False).eval()


def as_published(net: ResNet) -> None:
    """He et al.'s network: a stage's stride in its first 1x1 convolution, where torchvision has it in the 3x3."""
    for stage in ("layer2", "layer3", "layer4"):
        first = net.get_submodule(f"{stage}.0")
        first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = CAFFE_BN_EPS


def make_dense(net: ResNet, output_stride: int) -> None:
    """Replace the strides beyond `output_stride` by dilation (Chen et al. 2017), weights as they are.

    Every second position of a layer (every 2^k-th after k strides) is what the strided network computes there, zeros
    beyond the border included; the others are what it computes for the image shifted.
    """
    dilation = 1
    for stage, stride in (("layer2", 8), ("layer3", 16), ("layer4", 32)):
        for name, conv in net.get_submodule(stage).named_modules():
            if stride > output_stride and isinstance(conv, nn.Conv2d):
                if conv.kernel_size != (1, 1):
                    conv.dilation = conv.padding = (dilation, dilation)
                if conv.stride != (1, 1):
                    conv.stride = (1, 1)
                    dilation *= 1 if "downsample" in name else 2  # which lies beside the others, not before them
