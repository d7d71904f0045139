"""Readouts: the algebra they stand for, and their files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from harness.density import blur_operator, enlarge
from harness.errors import ResultsError
from harness.grid import resize
from harness.links import POWER, linked, powered
from harness.position import POSITION, position_terms
from harness.readout import LinearReadout, MapReadout
from harness.readout_files import load_readout, save_readout
from probes.observers import ObserversReadout
from tests.harness.batches import GRID, LAYERS, random_batch


def linear(link: str = "identity", window: torch.Tensor | None = None, blur: float = 0.0) -> LinearReadout:
    generator = torch.Generator().manual_seed(0)
    weights = {layer.name: torch.randn(layer.channels, generator=generator) for layer in LAYERS}
    weights[POSITION] = torch.randn(5, generator=generator)
    return LinearReadout(weights, bias=0.25, blur=blur, link=link, window=window, info={"alpha": 0.1})


def test_weights_on_native_grids_equal_weights_on_resized_features() -> None:
    batch, readout = random_batch(range(3)), linear()
    upsampled = {name: resize(x, GRID) for name, x in batch.features.items()}
    upsampled[POSITION] = position_terms(GRID, torch.device("cpu"))[None].expand(3, -1, -1, -1)
    plain = sum(torch.einsum("bchw,c->bhw", upsampled[n], w) for n, w in readout.weights.items()) + 0.25
    torch.testing.assert_close(readout(batch), plain, rtol=1e-5, atol=1e-5)


def test_a_blur_is_scipys_of_the_map_at_the_stimulus_resolution_and_comes_before_the_link() -> None:
    batch = random_batch(range(2))
    plain, cell = linear()(batch), batch.size[0] / GRID[0]
    assert cell == batch.size[1] / GRID[1]
    fine = resize(plain.double(), batch.size).numpy()
    expected = np.stack([gaussian_filter(each, 0.6 * cell, mode="reflect", truncate=4.0) for each in fine])
    np.testing.assert_allclose(linear(blur=0.6)(batch), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        linear("softplus", blur=0.6)(batch),
        linked(torch.from_numpy(expected).float(), "softplus"),
        rtol=1e-3,
        atol=1e-4,
    )
    together = sum(linear(blur=0.6).parts(batch).values()) + 0.25  # type: ignore[operator]
    torch.testing.assert_close(together, plain)


@given(sigma=st.floats(0.01, 3), factor=st.floats(-3, 3), seed=st.integers(0, 99))
def test_enlarging_is_linear_and_keeps_constants(sigma: float, factor: float, seed: int) -> None:
    one, other = torch.randn(2, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    size = (24, 31)
    both = enlarge(one, sigma, size) + factor * enlarge(other, sigma, size)
    torch.testing.assert_close(enlarge(one + factor * other, sigma, size), both)
    torch.testing.assert_close(
        enlarge(torch.full_like(one, factor), sigma, size), torch.full((1, *size), factor).double()
    )
    rows, columns = (blur_operator(n, sigma * n / short) for n, short in zip(size, one.shape[1:], strict=True))
    torch.testing.assert_close(enlarge(one, sigma, size), rows @ resize(one, size) @ columns.T)


def test_a_readout_of_before_there_was_a_blur_has_none() -> None:
    tensors, settings = linear("rectified").state()
    del settings["blur"]
    assert LinearReadout.from_state(tensors, settings).blur == 0


def test_exp_link_is_a_density_up_to_scale() -> None:
    batch = random_batch(range(2))
    flat = linear("exp")(batch).flatten(1)
    torch.testing.assert_close(flat / flat.sum(1, keepdim=True), linear()(batch).flatten(1).softmax(1))


def test_rectified_link_is_the_positive_part_of_z_scores_to_the_power() -> None:
    batch = random_batch(range(2))
    for found, plain in zip(linear("rectified")(batch), linear()(batch).double(), strict=True):
        z = (plain - plain.mean()) / plain.std(correction=0)
        torch.testing.assert_close(found.double(), z.clamp(min=0) ** POWER, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            linked(plain.float()[None], "rectified-2")[0].double(), z.clamp(min=0) ** 2, rtol=1e-4, atol=1e-5
        )
    assert not linked(torch.full((1, 3, 4), 2.0), "rectified").any()  # a constant map stays constant


def test_softplus_link_is_that_of_z_scores_to_the_power_and_keeps_the_order_of_places() -> None:
    plain = torch.randn(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 1
    z = (plain - plain.mean((1, 2), keepdim=True)) / plain.std((1, 2), correction=0, keepdim=True)
    for link, power in (("softplus", POWER), ("softplus-1.25", 1.25)):
        found = linked(plain, link)
        torch.testing.assert_close(found, torch.log1p(z.exp()) ** power)
        assert torch.equal(found.flatten(1).argsort(), plain.flatten(1).argsort())


def test_a_link_says_its_power_where_it_is_not_the_usual_one() -> None:
    assert [powered("rectified", power) for power in (POWER, 1.25, 2)] == ["rectified", "rectified-1.25", "rectified-2"]
    assert [powered(link, 2.0) for link in ("softplus", "identity")] == ["softplus-2", "identity"]


@pytest.mark.parametrize(
    "readout",
    [
        linear(),
        linear("exp"),
        linear("rectified"),
        linear("rectified-1.25", torch.rand(3, 4) + 0.5),
        linear("softplus", torch.rand(3, 4) + 0.5, blur=0.4),
        MapReadout(torch.rand(4, 5), {"coarse": torch.rand(6, 4, 5)}, link="exp"),
        MapReadout(torch.rand(4, 5)),
        ObserversReadout(seed=7),
    ],
)
def test_saving_and_loading_changes_nothing(readout, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    batch = random_batch(range(3))
    save_readout(readout, tmp_path / "r")
    again = load_readout(tmp_path / "r")
    assert type(again) is type(readout)
    assert again.info == readout.info
    assert again.layers == readout.layers
    torch.testing.assert_close(again(batch), readout(batch), rtol=0, atol=0)


def test_unreadable_readouts_say_why(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no readable readout"):
        load_readout(tmp_path)
    save_readout(linear(), tmp_path)
    document = json.loads((tmp_path / "readout.json").read_text())
    (tmp_path / "readout.json").write_text(json.dumps({**document, "kind": "os.system"}))
    with pytest.raises(ResultsError, match=r"kind 'os\.system'"):
        load_readout(tmp_path)


@pytest.mark.parametrize(
    "link",
    [
        "softmax",
        "rectified-",
        "rectified-x",
        "rectified-0",
        "rectified-nan",
        "rectified-inf",
        "softplus-inf",
        "identity-2",
        "exp-",
    ],
)
def test_a_readout_with_a_link_that_there_is_not_is_refused_when_it_is_read(link: str, tmp_path: Path) -> None:
    save_readout(linear(), tmp_path)
    document = json.loads((tmp_path / "readout.json").read_text())
    document["settings"]["link"] = link
    (tmp_path / "readout.json").write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=f"no link '{link}'"):
        load_readout(tmp_path)
