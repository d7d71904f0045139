"""The three ways of counting give the same integers, whatever the values look like."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.metrics._counting import FEW, count_by_bins, count_by_searching

N = 8 * FEW + 5


def values(kind: str) -> Tensor:
    random = torch.Generator().manual_seed(0)
    z = torch.randn(N, generator=random, dtype=torch.float64)
    return {
        "normal": z,
        "far from zero": 1e6 + z,
        "peaked": (12 * z).exp(),
        "very peaked": (40 * z).exp(),
        "negative peaked": -(12 * z).exp(),
        "rectified": z.clamp(min=0.5),
        "few values": (8 * z).round(),
        "signed zeros": torch.where(z.abs() < 1, torch.copysign(torch.zeros(()).double(), z), z),
        "one outlier": torch.cat([1e-9 * z[1:], torch.ones(1).double()]),
        "tiny": 1e-306 * z,
        "huge": 1e307 * z,
        "constant": torch.full_like(z, 0.1),
    }[kind]


KINDS = (
    *("normal", "far from zero", "peaked", "very peaked", "negative peaked", "rectified", "few values"),
    *("signed zeros", "one outlier", "tiny", "huge", "constant"),
)


def sorted_counts(x: Tensor, q: Tensor) -> tuple[list[int], list[int]]:
    ordered, few = np.sort(x.numpy()), q.numpy()
    return np.searchsorted(ordered, few, "left").tolist(), np.searchsorted(ordered, few, "right").tolist()


@pytest.mark.parametrize("few", [1, 2, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_bins_and_searching_count_like_a_full_sort(kind: str, dtype: torch.dtype, few: int) -> None:
    x = values(kind).to(dtype).nan_to_num()
    chosen = torch.randint(N, (few,), generator=torch.Generator().manual_seed(1))
    chosen[-1] = N - 1  # the tail of torch's vector loops
    q = x[chosen].sort().values
    expected = sorted_counts(x, q)
    before = x.clone()
    assert tuple(c.tolist() for c in count_by_bins(x, q)) == expected
    assert tuple(c[0].tolist() for c in count_by_searching(x[None], q[None])) == expected
    assert torch.equal(x, before)


def test_searching_counts_by_weight_and_row() -> None:
    x = torch.tensor([[1.0, 2.0, 2.0, 5.0], [0.0, 0.0, 9.0, 9.0]])
    q = torch.tensor([[2.0, 2.0, torch.inf], [0.0, 9.0, torch.inf]])
    weight = torch.tensor([[3, 1, 1, 0], [1, 2, 0, 4]])
    below, at_most = count_by_searching(x, q, weight)
    assert below.tolist() == [[3, 3, 5], [0, 3, 7]]
    assert at_most.tolist() == [[5, 5, 5], [3, 7, 7]]
