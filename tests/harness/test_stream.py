"""The stream: batches of one size and one fold, seeded order, features no finer than the grid, bad images."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from backbones.resnet50 import LoadedResNet50, ResNet50
from harness.data.dataset import Dataset
from harness.data.images import BadImageError, read_image, resize_image
from harness.decoding import Decoder, gpu_decodes_jpeg
from harness.errors import DataError, DeviceMemoryError
from harness.feature_cache import FeatureCache, Keep, Placement, Precision
from harness.grid import no_finer_than, resize
from harness.order import Place
from harness.stream import Stream, StreamSettings
from harness.types import LayerSpec

CPU = torch.device("cpu")
LAYERS = (LayerSpec("layer1", 256, 4), LayerSpec("layer3", 1024, 16))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return noise(tmp_path)


def noise(tmp_path: Path) -> Dataset:
    """Seven landscape and four portrait images of noise."""
    rng = np.random.default_rng(0)
    sizes = [(64, 96)] * 7 + [(96, 64)] * 4
    files = []
    for i, size in enumerate(sizes):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(files[-1])
    points = rng.integers(0, 64, (2, 11 * 5)).astype(np.int32)
    return Dataset(
        name="noise",
        split="train",
        edition="custom",
        points_kind="eye",
        ids=np.arange(100, 111),
        files=tuple(files),
        height=np.array([h for h, _ in sizes], np.int32),
        width=np.array([w for _, w in sizes], np.int32),
        offset=np.arange(0, 56, 5),
        row=points[0],
        col=points[1],
        observer=np.zeros(55, np.int32),
    )


def make(dataset: Dataset, cache: FeatureCache | None = None, **settings: object) -> Stream:
    loaded = ResNet50(weights="random").load(CPU)
    chosen = StreamSettings(**{"grid": 16, "folds": 2, "batch_size": 3, **settings})  # type: ignore[arg-type]
    return Stream(dataset, chosen, CPU, loaded, LAYERS, cache)


def cache_for(dataset: Dataset, precision: Precision = "fp32") -> FeatureCache:
    return FeatureCache({row: dataset.size(row) for row in range(len(dataset))}, Placement(host=2**30), precision)


def test_a_pass_sees_every_image_once_in_batches_of_one_size_and_fold(dataset: Dataset) -> None:
    seen: Counter[int] = Counter()
    for batch in make(dataset).batches(epoch=0):
        seen.update(batch.ids)
        assert len(set(batch.folds)) == 1
        assert batch.size in ((64, 96), (96, 64))
        assert batch.grid == (batch.size[0] // 16, batch.size[1] // 16)
        for layer in LAYERS:
            features = batch.features[layer.name]
            assert features.shape == (len(batch), layer.channels, *batch.grid)  # layer1 was finer than the grid
            assert features.dtype == torch.float32
    assert seen == Counter(dict.fromkeys(range(100, 111), 1))


def test_order_is_seeded_by_the_epoch(dataset: Dataset) -> None:
    stream = Stream(dataset, StreamSettings(folds=2, batch_size=2, seed=5), CPU)
    orders = [[i for batch in stream.batches(epoch) for i in batch.ids] for epoch in (0, 0, 1, None)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[3] == list(range(100, 111))


def test_features_are_the_networks_averaged_over_the_grid(dataset: Dataset) -> None:
    stream = make(dataset)
    batch = next(stream.batches())
    assert stream.backbone is not None
    pixels = torch.stack([read_image(f, 0) for f in dataset.files[:3]])
    native = stream.backbone.forward(stream.backbone.preprocessing(pixels, torch.float32), ["layer1"])["layer1"]
    assert native.shape[-2:] == (16, 24)
    torch.testing.assert_close(batch.features["layer1"], no_finer_than(native, (4, 6)), rtol=1e-4, atol=1e-4)


def test_several_scales_give_the_mean_of_each_at_the_finest_positions(dataset: Dataset) -> None:
    first, second, both = (next(make(dataset, scales=scales).batches()) for scales in ((1.0,), (1.5,), (1.0, 1.5)))
    pixels = torch.stack([read_image(f, 0) for f in dataset.files[:3]])
    stream = make(dataset)
    assert stream.backbone is not None
    larger = interpolate(stream.backbone.preprocessing(pixels, torch.float32), (96, 144), mode="bilinear")
    native = stream.backbone.forward(larger, ["layer3"])["layer3"]
    torch.testing.assert_close(second.features["layer3"], no_finer_than(native, (4, 6)), rtol=1e-4, atol=1e-4)
    for layer in ("layer1", "layer3"):
        size = both.features[layer].shape[-2:]
        assert size == (4, 6)
        mean = sum(resize(seen.features[layer], (size[0], size[1])) for seen in (first, second)) / 2
        torch.testing.assert_close(both.features[layer], mean, rtol=1e-4, atol=1e-4)
    # coarser than the grid at its own size: at the positions of the larger one
    coarse = [next(make(dataset, grid=8, scales=s).batches()).features["layer3"] for s in ((1.0,), (1.0, 1.5))]
    assert [found.shape[-2:] for found in coarse] == [(4, 6), (6, 9)]


def test_the_cache_replays_the_same_features_in_another_order(dataset: Dataset) -> None:
    cached = make(dataset, cache_for(dataset))
    by_id = {i: b.features["layer3"][k] for b in cached.batches(0) for k, i in enumerate(b.ids)}
    again = list(cached.batches(1))
    assert [i for b in again for i in b.ids] != list(by_id)
    for batch in again:
        for k, i in enumerate(batch.ids):
            torch.testing.assert_close(batch.features["layer3"][k], by_id[i], rtol=0, atol=0)
    assert cached.watch.seconds["cache"] > 0


def test_a_half_precision_cache_hands_out_float32(dataset: Dataset) -> None:
    cached = make(dataset, cache_for(dataset, "bf16"))
    by_id = {i: b.features["layer3"][k] for b in cached.batches(0) for k, i in enumerate(b.ids)}
    for batch in cached.batches(1):
        for k, i in enumerate(batch.ids):
            torch.testing.assert_close(batch.features["layer3"][k], by_id[i], rtol=2**-8, atol=1e-30)


def test_a_kept_cache_reports_bad_images_again(dataset: Dataset, tmp_path: Path) -> None:
    dataset.files[2].write_bytes(b"no image")
    facts, sizes = {"what": "noise"}, {row: dataset.size(row) for row in range(len(dataset))}
    folder = tmp_path / "kept"
    first = make(
        dataset, FeatureCache(sizes, Placement(disk=2**30), folder=folder, keep=Keep(facts, 2**31)), on_bad="skip"
    )
    fresh = [i for batch in first.batches(0) for i in batch.ids]
    again = make(dataset, FeatureCache.reopen(folder, facts), on_bad="skip")
    assert [i for batch in again.batches(0) for i in batch.ids] == fresh
    assert [s.id for s in again.skipped.values()] == [102]
    assert again.watch.seconds["forward"] == 0
    with pytest.raises(DataError, match="102"):
        list(make(dataset, FeatureCache.reopen(folder, facts)).batches(0))


def test_an_image_that_can_be_read_again_comes_in_its_turn(dataset: Dataset, tmp_path: Path) -> None:
    """A kept cache does not have it; whoever counts turns must not meet it late."""
    plain, facts = list(make(dataset).batches(1)), {"what": "noise"}
    file = dataset.files[next(batch.ids[0] for batch in plain if len(batch) > 1) - 100]
    whole = file.read_bytes()
    sizes, folder = {row: dataset.size(row) for row in range(len(dataset))}, tmp_path / "kept"
    file.write_bytes(b"no image")
    keep = Keep(facts, 2**31)
    list(make(dataset, FeatureCache(sizes, Placement(disk=2**30), folder=folder, keep=keep), on_bad="skip").batches(0))
    file.write_bytes(whole)
    batches = list(make(dataset, FeatureCache.reopen(folder, facts), on_bad="skip").batches(1))
    assert [turn for batch in batches for turn in batch.turns] == [turn for batch in plain for turn in batch.turns]
    assert [i for batch in batches for i in batch.ids] == [i for batch in plain for i in batch.ids]


def test_worker_processes_give_the_same_batches(dataset: Dataset) -> None:
    pairs = zip(make(dataset).batches(0), make(dataset, workers=2).batches(0), strict=True)
    for a, b in pairs:
        assert a.ids == b.ids
        torch.testing.assert_close(a.features["layer3"], b.features["layer3"], rtol=0, atol=0)


def test_a_bad_image_is_an_error_or_a_reported_skip(dataset: Dataset) -> None:
    whole = dataset.files[2].read_bytes()
    dataset.files[2].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"102.*2\.png|2\.png.*102"):
        list(make(dataset).batches(0))
    lenient = make(dataset, cache_for(dataset), on_bad="skip")
    for epoch in range(2):  # the second pass comes from the cache
        assert 102 not in {i for batch in lenient.batches(epoch) for i in batch.ids}
    assert [s.id for s in lenient.skipped.values()] == [102]


def test_an_image_that_changed_its_size_is_refused(dataset: Dataset) -> None:
    Image.new("RGB", (50, 40)).save(dataset.files[0])
    with pytest.raises(DataError, match=r"image 100 .*annotation says \(64, 96\)"):
        list(make(dataset).batches())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_is_named_by_a_worker_too(dataset: Dataset, workers: int) -> None:
    dataset.files[3].unlink()
    with pytest.raises(BadImageError, match=r"3\.png: image 103: cannot be read") as caught:
        list(make(dataset, workers=workers).batches(0))
    assert caught.value.id == 103
    assert not multiprocessing.active_children()  # although the error still holds the frames of its pass


def test_a_pass_that_is_never_finished_does_not_keep_the_process() -> None:
    """Its decoding processes leave signals to the main one, which must not wait for them when it ends."""
    begin = """
from pathlib import Path
import sys, tempfile
import torch
from harness.decoding import Decoder
from harness.order import Place
from tests.harness.test_stream import noise

data = noise(Path(tempfile.mkdtemp()))
sizes = {size: size for size in data.sizes}
sys.kept = Decoder(data, sizes, torch.device("cpu"), 1).batches([[Place(i, i)] for i in range(6)])
print(next(sys.kept).places)
"""
    done = subprocess.run([sys.executable, "-c", begin], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Place" in done.stdout


class Cramped(LoadedResNet50):
    """A network on a device that holds two images at once (one of the larger ones)."""

    most = 2

    def forward(self, images: torch.Tensor, layers: Sequence[str]) -> Mapping[str, torch.Tensor]:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory (as a test says)")
        return super().forward(images, layers)


def cramped(most: int) -> Cramped:
    loaded = ResNet50(weights="random").load(CPU)
    network = Cramped(loaded.module, loaded.weights, loaded.preprocessing, CPU)
    network.most = most
    return network


def test_out_of_memory_halves_the_batch_and_goes_on(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    settings = StreamSettings(grid=16, folds=2, batch_size=7)
    roomy = Stream(dataset, settings, CPU, cramped(7), LAYERS)
    tight = Stream(dataset, settings, CPU, cramped(2), LAYERS)
    expected = {i: b.features["layer3"][k] for b in roomy.batches() for k, i in enumerate(b.ids)}
    with caplog.at_level("WARNING"):
        batches = list(tight.batches())
    assert max(map(len, batches)) <= 2
    assert [i for batch in batches for i in batch.ids] == list(expected)
    assert [t for batch in batches for t in batch.turns] == list(range(11))
    for batch in batches:
        for k, i in enumerate(batch.ids):
            torch.testing.assert_close(batch.features["layer3"][k], expected[i], rtol=1e-3, atol=1e-3)
    said = [record.getMessage() for record in caplog.records]
    assert any("going on with" in words for words in said)
    assert len(said) == len(set(said)) <= 4  # once for a size, not for every batch
    with pytest.raises(DeviceMemoryError, match=r"one 64x96 image.*input\.scale"):
        list(Stream(dataset, settings, CPU, cramped(0), LAYERS).batches())


def test_bf16_features_are_close_to_fp32(dataset: Dataset) -> None:
    exact, rounded = (next(make(dataset, precision=p).batches()).features["layer3"] for p in ("fp32", "bf16"))
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.03 * exact.norm()


def test_a_stretched_stimulus_is_said(dataset: Dataset) -> None:
    assert make(dataset).distortion() is None
    words = make(dataset, size=(64, 64)).distortion()
    assert words is not None
    assert words.startswith("64x96 stimuli enter the network as 64x64, their shape changed by +50% in height")


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_features(dataset: Dataset) -> None:
    shallow = (LAYERS[0],)
    compiled, eager = (
        next(Stream(dataset, StreamSettings(grid=16, compile=c), CPU, cramped(99), shallow).batches()).features
        for c in (True, False)
    )
    torch.testing.assert_close(compiled["layer1"], eager["layer1"], rtol=1e-4, atol=1e-4)


def test_the_gpus_decoder_is_not_trusted_unseen() -> None:
    assert gpu_decodes_jpeg(CPU)  # torchvision's own decoder passes the comparison with Pillow on the CPU


def test_files_bytes_decoded_by_the_device(dataset: Dataset, tmp_path: Path) -> None:
    """The road of a GPU, walked on the CPU: JPEG by torchvision, what is not JPEG or is damaged by Pillow."""
    files = list(dataset.files)
    for i in range(3):
        files[i] = tmp_path / f"{i}.jpg"
        Image.open(dataset.files[i]).convert("L").resize((96, 64)).save(files[i], quality=95)
    files[1].write_bytes(files[1].read_bytes()[:300])
    changed = replace(dataset, files=tuple(files))
    decoder = Decoder(changed, {(64, 96): (32, 48)}, CPU, workers=0)
    decoder.on_gpu = True
    (decoded,) = decoder.batches([[Place(turn, row) for turn, row in enumerate((0, 1, 2, 3))]])
    assert [place.row for place in decoded.places] == [0, 2, 3]
    assert [place.row for place, _ in decoded.bad] == [1]
    for pixels, row in zip(decoded.pixels, (0, 2, 3), strict=True):
        plain = resize_image(read_image(files[row], row), (32, 48))
        assert (pixels.float() - plain.float()).abs().mean() < 2
