"""Where positions look: known for networks of one layer, moved features against what is where, a real network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones import _registration
from backbones._registration import centres, dead_leaves, moved
from backbones.resnet50 import ResNet50
from backbones.scales import Scales
from harness import LoadedBackbone, Preprocessing, Weights
from harness.errors import WeightsError
from harness.types import LayerSpec

CPU = torch.device("cpu")
PLAIN = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


class OneLayer(LoadedBackbone):
    """Brightness averaged over a window of pixels around s i + centre, for every position i."""

    def __init__(self, stride: int, window: int, first: int) -> None:
        """The window of position 0 begins at pixel `first`, which may lie before the image."""
        self.stride, self.window, self.first = stride, window, first
        self.weights, self.preprocessing, self.device = Weights("none", "", ""), PLAIN, CPU

    @property
    def centre(self) -> float:
        return self.first + (self.window - 1) / 2

    def forward(self, images: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        before = -self.first
        # as many positions as cells: enough is added behind for the last window
        after = max(0, self.first + self.window - self.stride)
        padded = nn.functional.pad(images, (before, after, before, after), mode="replicate")
        return dict.fromkeys(layers, nn.functional.avg_pool2d(padded, self.window, self.stride))


@pytest.mark.parametrize(
    ("stride", "window", "first"), [(8, 8, 0), (8, 7, -3), (16, 17, -8), (16, 9, 0), (32, 33, -16), (32, 33, -8)]
)
def test_the_centre_of_a_known_window_is_found(stride: int, window: int, first: int) -> None:
    network = OneLayer(stride, window, first)
    (found,) = centres(network, [LayerSpec("x", 3, stride)]).values()
    assert found == pytest.approx(network.centre, abs=0.06 * stride)


def test_moved_features_lie_where_they_were_seen() -> None:
    rows, columns = (torch.arange(n, dtype=torch.float32) for n in (96, 128))
    ramps = torch.stack([rows[:, None].expand(96, 128), columns.expand(96, 128)])[None]
    network = OneLayer(16, 17, -8)
    put_right = moved(network.forward(ramps, ["x"])["x"], network.centre, (96, 128))
    middles = nn.functional.avg_pool2d(ramps, 16)
    torch.testing.assert_close(put_right[..., 1:-1, 1:-1], middles[..., 1:-1, 1:-1])
    assert torch.equal(moved(middles, 7.5, (96, 128)), middles)


def test_stimuli_are_the_same_every_time() -> None:
    first, again = (list(dead_leaves((96, 128))) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert first[0].shape == (96, 128, 3)
    assert not np.array_equal(first[0], first[1])


def test_stimuli_have_a_size_that_the_network_can_take() -> None:
    network = OneLayer(14, 14, 0)
    network.preprocessing = Preprocessing(mean=PLAIN.mean, std=PLAIN.std, multiple_of=14)
    assert centres(network, [LayerSpec("x", 3, 14)])["x"] == pytest.approx(6.5, abs=0.5)


def test_too_few_positions_and_no_peak_count_as_centred() -> None:
    assert centres(OneLayer(120, 120, 0), [LayerSpec("x", 3, 120)]) == {"x": 59.5}

    class Nothing(OneLayer):
        def forward(self, images: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
            return {name: torch.zeros_like(x) for name, x in super().forward(images, layers).items()}

    assert centres(Nothing(16, 16, 0), [LayerSpec("x", 3, 16)]) == {"x": 7.5}


@pytest.fixture
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where exactly an untrained network looks does not matter."""
    monkeypatch.setattr(_registration, "SIDE", 160)


@pytest.mark.usefixtures("_quickly")
def test_scales_move_what_each_size_shows() -> None:
    small: dict[str, Any] = {"weights": "random", "scales": (1.0, 0.5)}
    images = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    plain, registered = Scales(**small).load(CPU), Scales(**small, registered=True).load(CPU)
    assert Scales(**small, registered=True).label == "resnet50@1+0.5+registered"
    names = ["layer2@1", "layer3@0.5"]
    before, after = (network.forward(images, names) for network in (plain, registered))
    for name, size in (("layer2@1", (96, 128)), ("layer3@0.5", (48, 64))):
        centre = registered.centres[name.partition("@")[0]]
        torch.testing.assert_close(after[name], moved(before[name], centre, size))
        assert not torch.equal(after[name], before[name])


@pytest.mark.usefixtures("_quickly")
def test_mirrored_features_are_moved_before_they_are_averaged() -> None:
    small: dict[str, Any] = {"weights": "random", "scales": (1.0,), "mirror": True}
    network = Scales(**small, registered=True).load(CPU)
    image = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    (found,) = network.forward(image, ["layer2@1"]).values()
    (mirrored,) = network.forward(image.flip(-1), ["layer2@1"]).values()
    torch.testing.assert_close(found, mirrored.flip(-1))


def test_training_moves_the_centres_of_resnet50() -> None:
    """Padded strides alone are centred on pixel 0; the trained network looks a few pixels further on."""
    try:
        trained = ResNet50(weights="caffe").load(CPU)
    except WeightsError as error:
        pytest.skip(str(error))
    layers = [layer for layer in ResNet50().available_layers() if layer.name in ("layer2.0", "layer3.0", "layer4.0")]
    found = centres(trained, layers)
    assert 1 <= found["layer2.0"] <= 2.5
    assert 3 <= found["layer3.0"] <= 4.5
    assert 4 <= found["layer4.0"] <= 6.5
