"""Two settings of a backbone are two backbones, in tables, keys and caches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness._backbone import BACKBONES, Backbone, LoadedBackbone, Weights, backbone
from harness.types import LayerSpec
from tests.plugins import forgotten


@pytest.fixture
def small() -> Any:
    """A plugin's backbone with parameters that no label names."""
    with forgotten():

        @backbone("small_for_labels")
        class Small(Backbone):
            weights: str = "random"
            seed: int = 0
            dilation: int = 1
            taps: tuple[int, ...] = (3, 5)

            def available_layers(self) -> tuple[LayerSpec, ...]:
                return (LayerSpec("a", 4, 2),)

            def find_weights(self) -> Weights:
                raise NotImplementedError

            def load(self, device: torch.device) -> LoadedBackbone:
                raise NotImplementedError

        yield Small


def test_a_label_has_the_parameters_that_are_not_at_their_defaults(small: Any) -> None:
    assert small().label == small(weights="file.pt", seed=3).label == "small_for_labels"
    assert small(dilation=4).label == "small_for_labels[dilation=4]"
    assert small(dilation=2, taps=(1,)).label == "small_for_labels[dilation=2,taps=(1,)]"


def test_built_in_labels_are_as_they_were() -> None:
    assert [BACKBONES.get(name)().label for name in ("resnet50", "pixels")] == ["resnet50", "pixels"]
