from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import images
from harness.data.images import BadImageError, check_image, read_image, resize_image
from harness.errors import DataError
from tests.harness.data.roots import save_jpeg

SIZE = (37, 53)


def smooth(size: tuple[int, int] = SIZE) -> np.ndarray:
    row, col = np.mgrid[: size[0], : size[1]]
    return np.stack([row * 255 // size[0], col * 255 // size[1], (row + col) % 256], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp"])
def test_rgb_planes_come_in_order(tmp_path: Path, name: str) -> None:
    Image.fromarray(np.full((*SIZE, 3), (250, 120, 10), np.uint8)).save(tmp_path / name)
    image = read_image(tmp_path / name, 1)
    assert (image.shape, image.dtype) == ((3, *SIZE), torch.uint8)
    assert (image.float().mean((1, 2)) - torch.tensor([250.0, 120, 10])).abs().max() < 4


@pytest.mark.parametrize(
    ("mode", "format"), [("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("1", "PNG")]
)
def test_other_modes_become_rgb(tmp_path: Path, mode: str, format: str) -> None:
    file = tmp_path / "image"
    Image.fromarray(smooth()).convert(mode).save(file, format=format)
    expected = np.asarray(Image.open(file).convert("RGB"))
    assert np.array_equal(read_image(file, 1).permute(1, 2, 0).numpy(), expected)
    assert check_image(file, 1).size == SIZE


def test_exif_orientation_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg", 1).shape == (3, *SIZE)
    assert check_image(tmp_path / "a.jpg", 1).size == SIZE


def test_facts(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "a.jpg", SIZE)
    facts = check_image(tmp_path / "a.jpg", 1)
    assert facts.size == SIZE
    assert facts.sha256 == hashlib.sha256((tmp_path / "a.jpg").read_bytes()).hexdigest()


@pytest.mark.parametrize(("name", "lost"), [("a.jpg", 3), ("a.jpg", 20), ("a.jpg", 400), ("a.png", 400), ("a.bmp", 9)])
def test_a_truncated_file_is_seen_by_both(tmp_path: Path, name: str, lost: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-lost])
    with pytest.raises(BadImageError, match=f"{name}: image 7: truncated or damaged"):
        check_image(tmp_path / name, 7)
    with pytest.raises(DataError, match=f"{name}: image 7: truncated or damaged"):
        read_image(tmp_path / name, 7)


def test_damage_inside_is_left_to_the_decoder(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(smooth()).save(file)
    data = bytearray(file.read_bytes())
    middle = data.index(b"IDAT") + 40
    data[middle : middle + 20] = b"\0" * 20
    file.write_bytes(data)
    assert check_image(file, 7).size == SIZE
    with pytest.raises(BadImageError, match=r"a\.png: image 7: truncated or damaged"):
        read_image(file, 7)


def test_bytes_after_the_end_of_a_whole_jpeg_do_no_harm(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "a.jpg", SIZE)
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"\0" * 5000)
    assert check_image(tmp_path / "a.jpg", 1).size == SIZE
    assert read_image(tmp_path / "a.jpg", 1).shape == (3, *SIZE)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0"])
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (check_image, read_image):
        with pytest.raises(BadImageError, match=r"a\.jpg: image 7: not a readable image"):
            read(tmp_path / "a.jpg", 7)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jpg: image 7: cannot be read: No such file"):
        read_image(tmp_path / "none.jpg", 7)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (30_000, 8_000)).save(tmp_path / "bomb.png")
    with pytest.raises(BadImageError, match=r"bomb\.png: image 7: "):
        read_image(tmp_path / "bomb.png", 7)
    monkeypatch.setattr(images, "MAX_PIXELS", SIZE[0] * SIZE[1] - 1)
    save_jpeg(tmp_path / "a.jpg", SIZE)
    with pytest.raises(BadImageError, match="37x53 is more than 1,960 pixels"):
        check_image(tmp_path / "a.jpg", 7)


def test_halving_averages_and_resizing_to_the_same_size_changes_nothing() -> None:
    image = torch.from_numpy(smooth((48, 64))).permute(2, 0, 1)
    assert torch.equal(resize_image(image, (48, 64)), image)
    half = resize_image(image, (24, 32))
    assert (half.shape, half.dtype) == ((3, 24, 32), torch.uint8)
    stripes = (torch.arange(64) % 2 * 255).to(torch.uint8).expand(3, 48, 64)
    # without antialiasing alternate columns would survive or vanish; with it they turn grey
    assert (resize_image(stripes, (24, 16))[:, :, 1:-1].int() - 127).abs().max() < 20
