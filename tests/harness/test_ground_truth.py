"""The pool of other images' gaze against loops that spell it out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.dataset import Dataset
from harness.density import blur, sigma_for
from harness.ground_truth import Pool
from harness.types import Batch

CPU = torch.device("cpu")
SIZES = [(12, 16), (16, 12), (9, 20)]


def make_dataset(seed: int, n: int, sizes: list[tuple[int, int]]) -> Dataset:
    rng = np.random.default_rng(seed)
    chosen = [sizes[i] for i in rng.integers(0, len(sizes), n)]
    per_image = rng.integers(0, 9, n)
    row = np.concatenate([rng.integers(0, s[0], k) for s, k in zip(chosen, per_image, strict=True)])
    col = np.concatenate([rng.integers(0, s[1], k) for s, k in zip(chosen, per_image, strict=True)])
    return Dataset(
        name="made",
        split="test",
        edition="custom",
        points_kind="eye",
        ids=np.arange(n),
        files=tuple(Path(f"{i}.png") for i in range(n)),
        height=np.array([s[0] for s in chosen], np.int32),
        width=np.array([s[1] for s in chosen], np.int32),
        offset=np.concatenate([[0], np.cumsum(per_image)]),
        row=row.astype(np.int32),
        col=col.astype(np.int32),
        observer=np.zeros(len(row), np.int32),
    )


def batch_of(dataset: Dataset, index: int) -> Batch:
    size = dataset.size(index)
    return Batch((index,), size, (3, 4), (dataset.points(index),), {}, (0,), sigma_for(size[0]))


def test_a_pool_keeps_the_maps_of_few_sizes() -> None:
    """A set of photographs has as many sizes as images."""
    dataset = make_dataset(0, 12, [(20 + n, 30) for n in range(12)])
    pool = Pool(dataset, CPU)
    for index in range(12):
        pool.log_prior(batch_of(dataset, index), leave_out=True)
    assert len(pool._counts) <= 4
    assert len(pool._blurs) <= 4


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 7))
def test_others_are_all_other_images_at_the_same_relative_positions(seed: int, n: int) -> None:
    dataset = make_dataset(seed, n, SIZES)
    pool = Pool(dataset, CPU)
    for index in range(n):
        height, width = dataset.size(index)
        expected = np.zeros((height, width), int)
        for other in range(n):
            if other != index:
                points, (h, w) = dataset.points(other), dataset.size(other)
                for r, c in zip(points.row.tolist(), points.col.tolist(), strict=True):
                    expected[int((r + 0.5) / h * height + 1e-9), int((c + 0.5) / w * width + 1e-9)] += 1
        found = pool.others(batch_of(dataset, index)).values[0]
        assert found.dtype == torch.int32
        np.testing.assert_array_equal(found.numpy(), expected)


def test_the_prior_leaves_the_image_itself_out() -> None:
    dataset = make_dataset(1, 6, SIZES[:1])
    pool = Pool(dataset, CPU)
    for index in range(6):
        batch = batch_of(dataset, index)
        rest = Pool(dataset.take([i for i in range(6) if i != index]), CPU)
        left_out, without = pool.log_prior(batch, leave_out=True), rest.log_prior(batch, leave_out=False)
        torch.testing.assert_close(left_out, without, rtol=1e-4, atol=1e-4)
        assert left_out.exp().sum().item() == 1 or abs(left_out.exp().sum().item() - 1) < 1e-5


def test_a_released_map_is_not_taken_out_of_the_prior() -> None:
    """It is on a scale of its own: the pool holds points."""
    dataset = make_dataset(1, 6, SIZES[:1])
    batch, pool = batch_of(dataset, 2), Pool(dataset, CPU)
    released = replace(batch, released=255 * torch.rand(1, *batch.size))
    torch.testing.assert_close(pool.log_prior(released, leave_out=True), pool.log_prior(batch, leave_out=True))


def test_the_prior_is_the_blurred_pool_and_one_uniform_point_an_image() -> None:
    dataset = make_dataset(2, 5, SIZES[:1])
    batch = batch_of(dataset, 0)
    plain = blur(Pool(dataset, CPU).counts((12, 16))[None].float(), batch.sigma) + 5 / (12 * 16)
    found = Pool(dataset, CPU).log_prior(batch, leave_out=False)
    torch.testing.assert_close(found, (plain / plain.sum()).log())


def test_a_pool_of_one_image_leaves_a_uniform_prior() -> None:
    dataset = make_dataset(3, 1, SIZES[:1])
    prior = Pool(dataset, CPU).log_prior(batch_of(dataset, 0), leave_out=True)
    torch.testing.assert_close(prior, torch.full_like(prior, -np.log(12 * 16)), rtol=1e-4, atol=1e-4)


def test_the_centre_prior_is_everybodys_gaze_blurred_in_relative_coordinates() -> None:
    dataset = make_dataset(3, 6, SIZES)
    counts = torch.zeros(480, 640)
    for index in range(6):
        points, (h, w) = dataset.points(index), dataset.size(index)
        for r, c in zip(points.row.tolist(), points.col.tolist(), strict=True):
            counts[int((r + 0.5) / h * 480 + 1e-9), int((c + 0.5) / w * 640 + 1e-9)] += 1
    plain = blur(counts[None], 19.0)[0] + 6 / (480 * 640)
    plain = plain.view(30, 16, 40, 16).mean((1, 3))
    found = Pool(dataset, CPU).centre_prior()
    assert found.shape == (30, 40)
    torch.testing.assert_close(found, plain / plain.mean(), rtol=1e-3, atol=1e-4)
