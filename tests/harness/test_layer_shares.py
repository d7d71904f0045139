"""Layers' shares of a map's variance against the plain computation on all positions at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.layer_shares import LayerShares
from harness.readout import LinearReadout
from tests.harness.batches import LAYERS, random_batch


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=30)
def test_shares_are_covariances_with_the_whole_and_add_up_to_one(seed: int, layers: int, images: int) -> None:
    random = torch.Generator().manual_seed(seed)
    parts = {f"l{i}": torch.randn(images, 3, 4, generator=random) for i in range(layers)}
    shares, other = LayerShares(), LayerShares()
    shares.add({name: part[:1] for name, part in parts.items()})
    if images > 1:
        other.add({name: part[1:] for name, part in parts.items()})
    found = shares.merged([other]).shares()
    centred = {
        name: (part.double() - part.double().mean((1, 2), keepdim=True)).flatten() for name, part in parts.items()
    }
    whole = torch.stack(list(centred.values())).sum(0)
    for name, part in centred.items():
        assert found[name] == pytest.approx(float(part @ whole / (whole @ whole)), rel=1e-9, abs=1e-9)
    assert sum(found.values()) == pytest.approx(1)


def test_a_layer_that_only_cancels_another_has_a_negative_share() -> None:
    x = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(0))
    shares = LayerShares()
    shares.add({"a": 2 * x, "b": -x})
    assert shares.shares() == pytest.approx({"a": 2.0, "b": -1.0})


def test_constant_maps_have_no_shares() -> None:
    shares = LayerShares()
    assert shares.shares() == {}
    shares.add({"a": torch.ones(2, 3, 3), "b": torch.zeros(2, 3, 3)})
    assert shares.shares() == {}


def test_the_parts_of_a_readout_are_its_map() -> None:
    batch, random = random_batch(range(2)), torch.Generator().manual_seed(1)
    readout = LinearReadout({layer.name: torch.randn(layer.channels, generator=random) for layer in LAYERS}, 0.25)
    parts = readout.parts(batch)
    np.testing.assert_allclose(sum(parts.values()) + 0.25, readout(batch), rtol=1e-5, atol=1e-6)
