"""The low-level control on images whose features are known."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backbones import _early_vision as early
from backbones.pixels import LAYERS, LEVELS, SIGMAS, STRIDE, LoadedPixels, Pixels
from harness.errors import RecipeError
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import read_cells
from harness.run import run

CPU = torch.device("cpu")
NAMES = [layer.name for layer in LAYERS]
INSIDE = slice(4, -4)
"""Cells that no border reaches at the finer scales."""


@pytest.fixture(scope="module")
def pixels() -> LoadedPixels:
    return Pixels().load(CPU)


def features(pixels: LoadedPixels, image: Tensor, name: str) -> Tensor:
    return pixels.forward(image[None], [name])[name][0]


def grating(degrees: float, wavelength: float, size: int = 256, phase: float = 0.0, contrast: float = 0.5) -> Tensor:
    """A grey grating in linear light around 0.4, as sRGB values."""
    y, x = torch.meshgrid(torch.arange(size).double(), torch.arange(size).double(), indexing="ij")
    angle = math.radians(degrees)
    wave = torch.cos(2 * math.pi / wavelength * (x * math.cos(angle) + y * math.sin(angle)) + phase)
    light = 0.4 * (1 + contrast * wave)
    srgb = torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return srgb.float().expand(3, -1, -1)


def test_declared_layers_are_those_of_the_output(pixels: LoadedPixels) -> None:
    found = pixels.forward(torch.rand(2, 3, 64, 96), NAMES)
    shapes = {layer.name: (2, layer.channels, 64 // layer.stride, 96 // layer.stride) for layer in LAYERS}
    assert {name: tuple(x.shape) for name, x in found.items()} == shapes
    assert Pixels().stages() == tuple(NAMES)
    assert pixels.preprocessing.input_size((250, 333)) == (248, 336)
    with pytest.raises(RecipeError, match="layer1"):
        pixels.forward(torch.rand(1, 3, 64, 64), ["layer1"])


def test_a_layer_alone_is_the_layer_among_all_and_images_do_not_mix(pixels: LoadedPixels) -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    together = pixels.forward(images, NAMES)
    for name in NAMES:
        torch.testing.assert_close(pixels.forward(images[1:2], [name])[name][0], together[name][1])


@pytest.mark.parametrize("level", range(LEVELS))
@pytest.mark.parametrize("which", range(len(early.ORIENTATIONS)))
def test_a_grating_peaks_in_the_channel_of_its_orientation_and_wavelength(
    pixels: LoadedPixels, which: int, level: int
) -> None:
    image = grating(early.ORIENTATIONS[which], early.WAVELENGTH * 2**level, contrast=0.2)
    energy = features(pixels, image, "energy").view(LEVELS, len(early.ORIENTATIONS), 32, 32)
    strength = energy[:, :, INSIDE, INSIDE].mean(dim=(2, 3))
    assert strength.argmax().item() == level * len(early.ORIENTATIONS) + which
    across = (which + 2) % len(early.ORIENTATIONS)
    assert strength[level, across] < 0.2 * strength[level, which]


def test_energy_is_the_amplitude_whatever_the_phase(pixels: LoadedPixels) -> None:
    found = [
        features(pixels, grating(0, 4, phase=phase, contrast=0.1), "energy")[0, INSIDE, INSIDE]
        for phase in (0.0, 0.7, 1.9)
    ]
    expected = 0.1 * 0.4 / (0.4 + early.DIM)  # of ln(Y + DIM), to first order
    for energy in found:
        torch.testing.assert_close(energy, torch.full_like(energy, expected), rtol=0.05, atol=0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=25)
def test_a_uniform_image_has_luminance_and_colour_only(red: float, green: float, blue: float) -> None:
    loaded = Pixels().load(CPU)
    image = torch.tensor([red, green, blue]).view(3, 1, 1).expand(3, 48, 64)
    found = loaded.forward(image[None], NAMES)
    assert all(torch.isfinite(x).all() for x in found.values())
    assert found["contrast"].abs().max() == 0
    assert found["energy"].max() < 1e-5
    light = early.linear_light(image[None])
    expected = early.log_luminance(light)[0, 0, 0, 0]
    torch.testing.assert_close(
        found["luminance"], torch.full_like(found["luminance"], expected.item()), atol=1e-5, rtol=0
    )


@given(st.floats(0, 1))
@settings(max_examples=15)
def test_grey_has_no_colour(grey: float) -> None:
    found = Pixels().load(CPU).forward(torch.full((1, 3, 32, 32), grey), ["opponency"])["opponency"]
    assert found.abs().max() < 1e-5


@pytest.mark.parametrize(
    ("colour", "channel"), [((1.0, 0.0, 0.0), 0), ((0.0, 0.0, 1.0), 1), ((0.0, 1.0, 0.0), 2), ((1.0, 1.0, 0.0), 3)]
)
def test_red_blue_green_and_yellow_have_a_channel_each(
    pixels: LoadedPixels, colour: tuple[float, float, float], channel: int
) -> None:
    image = torch.tensor(colour).view(3, 1, 1).expand(3, 32, 32)
    strength = features(pixels, image, "opponency").view(len(SIGMAS), 4, -1).mean(dim=2)
    assert (strength[:, channel] > 0.5).all()
    assert (strength[:, (channel + 2) % 4] == 0).all()


def test_contrast_is_the_standard_deviation_in_a_window(pixels: LoadedPixels) -> None:
    image = grating(45, 6, contrast=0.2)
    achromatic = early.log_luminance(early.linear_light(image[None].double()))
    found = features(pixels, image, "contrast").view(len(SIGMAS), 3, 32, 32)[:, 0, INSIDE, INSIDE]
    expected = achromatic.std().item()
    torch.testing.assert_close(found, torch.full_like(found, expected), rtol=0.05, atol=0)


def test_more_light_changes_no_contrast_of_what_is_bright(pixels: LoadedPixels) -> None:
    random = torch.Generator().manual_seed(1)
    light = 0.3 + 0.2 * torch.rand(1, 128, 128, generator=random)
    srgb = [(1.055 * (gain * light) ** (1 / 2.4) - 0.055).expand(3, -1, -1) for gain in (1.0, 1.8)]
    dim, bright = (features(pixels, image, "contrast")[0] for image in srgb)
    torch.testing.assert_close(dim, bright, rtol=0.1, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_shift_by_a_stride_shifts_the_features(pixels: LoadedPixels, name: str) -> None:
    wide = torch.rand(3, 256, 256 + 2 * STRIDE, generator=torch.Generator().manual_seed(2))
    here, there = features(pixels, wide[:, :, : -2 * STRIDE], name), features(pixels, wide[:, :, 2 * STRIDE :], name)
    margin = 14  # the largest window reaches so far
    torch.testing.assert_close(
        here[:, :, margin + 2 : -margin], there[:, :, margin : -margin - 2], atol=2e-4, rtol=1e-3
    )


def test_bf16_around_it_changes_nothing(pixels: LoadedPixels) -> None:
    image = torch.rand(1, 3, 64, 64)
    plain = pixels.forward(image, NAMES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = pixels.forward(image, NAMES)
    assert all(torch.equal(plain[name], inside[name]) for name in NAMES)
    assert all(x.dtype == torch.float32 for x in inside.values())


def test_filters_are_balanced_and_of_unit_gain() -> None:
    even, odd = early.gabor_pairs().double().chunk(2)
    assert even.sum(dim=(1, 2, 3)).abs().max() < 1e-6
    assert odd.sum(dim=(1, 2, 3)).abs().max() < 1e-6
    torch.testing.assert_close(even, even.flip(2, 3))
    torch.testing.assert_close(odd, -odd.flip(2, 3))
    assert sum(early.HALVING) == 1
    assert sum(early.LUMINANCE_OF_RGB) == pytest.approx(1)


def test_its_digest_is_that_of_its_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Pixels().find_weights()
    assert before == Pixels().load(CPU).weights
    monkeypatch.setattr("backbones.pixels.VERSION", 2)
    assert Pixels().find_weights().sha256 != before.sha256
    with pytest.raises(RecipeError, match="its filters are fixed"):
        Pixels(weights="random")


RECIPE: dict[str, Any] = {
    "name": "low",
    "backbones": ["pixels"],
    "layers": ["each", "all"],
    "probes": ["ridge", "centre"],
    "metrics": ["cc", "auc"],
    "pictures": 0,
}


def best(recipe: dict[str, Any], out: Path) -> tuple[float, float]:
    """CC of `all` and of the centre bias."""
    cells = read_cells(run(make_plan(parse_recipe(recipe)), out, Silent()).folder).set_index("layers")
    return cells.cc["all"], cells.cc["none"]


def test_it_beats_the_centre_bias_on_generated_scenes(tmp_path: Path) -> None:
    dataset = {"reader": "demo", "train": 40, "test": 12, "height": 240, "width": 320}
    whole, centre = best({**RECIPE, "dataset": dataset}, tmp_path)
    assert whole > centre + 0.05


@pytest.mark.slow
@pytest.mark.skipif("SALPROBE_TEST_DATA" not in os.environ, reason="SALPROBE_TEST_DATA is not set: no real images")
def test_it_beats_the_centre_bias_on_photographs(tmp_path: Path) -> None:
    annotations = {"train": "fixations_eye_train.json", "test": "fixations_eye_val.json"}
    root = Path(os.environ["SALPROBE_TEST_DATA"]) / "osie640"
    dataset = {"reader": "salicon", "root": str(root), "edition": "custom", "points": "eye", **annotations}
    whole, centre = best({**RECIPE, "dataset": dataset, "limit": 100}, tmp_path)
    assert whole > centre
