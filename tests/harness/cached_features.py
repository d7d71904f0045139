"""Seeded features and caches of them, for the tests of the feature cache."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.feature_cache import (
    FeatureCache,
    feature_bytes,
    itemsize,
)
from harness.types import LayerSpec, Size

CPU = torch.device("cpu")
GPU = torch.device("cuda")
AMPLE = 2**40
LAYERS = (LayerSpec("layer1", 3, 4), LayerSpec("layer2.1", 5, 8))
SIZES: list[Size] = [(16, 24), (24, 16), (16, 16)]
IMAGE = {size: feature_bytes(LAYERS, size, size) for size in SIZES}
RELATIVE = {"fp32": 0.0, "fp16": 2.0**-11, "bf16": 2.0**-8}
FACTS = {"weights": "ab12", "layers": ["layer1", "layer2.1"], "shard": [0, 1]}


def features(size: Size, rows: list[int], seed: int = 0) -> dict[str, Tensor]:
    """Seeded features of some images of one size."""
    maps: dict[str, list[Tensor]] = {layer.name: [] for layer in LAYERS}
    for row in rows:
        generator = torch.Generator().manual_seed(1000 * seed + row)
        for layer in LAYERS:
            shape = (layer.channels, size[0] // layer.stride, size[1] // layer.stride)
            maps[layer.name].append(torch.randn(shape, generator=generator))
    return {name: torch.stack(x) for name, x in maps.items()}


def batches(sizes: dict[int, Size], batch: int, seed: int) -> Iterator[tuple[Size, list[int]]]:
    """All images, in batches of one size, in a seeded order."""
    order = list(sizes)
    random.Random(seed).shuffle(order)
    for size in SIZES:
        same = [row for row in order if sizes[row] == size]
        yield from ((size, same[start : start + batch]) for start in range(0, len(same), batch))


def fill(cache: FeatureCache, sizes: dict[int, Size], batch: int = 3, seed: int = 0) -> FeatureCache:
    """Put all images, in batches of one size, in a seeded order."""
    for size, rows in batches(sizes, batch, seed):
        cache.put(rows, features(size, rows))
    cache.close()
    return cache


def check(cache: FeatureCache, sizes: dict[int, Size], batch: int = 4, seed: int = 1) -> None:
    """Everything comes back as it was put, in any order, in the cache's precision."""
    for size, rows in batches(sizes, batch, seed):
        got, put = cache.get(rows, CPU), features(size, rows)
        assert list(got) == list(put)
        for name, x in got.items():
            assert x.element_size() == itemsize(cache.precision)
            assert x.shape == put[name].shape
            # half floats lose relative precision near zero: 2^-25 is half of fp16's smallest step
            torch.testing.assert_close(x.float(), put[name], rtol=RELATIVE[cache.precision], atol=2.0**-25)


def sizes_of(n: int) -> dict[int, Size]:
    """Mixed sizes; rows start at 100 and have gaps, as the rows of one of several processes."""
    return {100 + 2 * i: SIZES[i % 3] for i in range(n)}
