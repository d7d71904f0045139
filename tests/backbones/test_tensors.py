from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from backbones._tensors import digest, read_tensors, seeded
from harness.errors import WeightsError


@given(st.permutations(["a", "b", "c"]), st.booleans())
def test_digest_depends_on_content_not_on_order_or_memory_layout(order: list[str], strided: bool) -> None:
    values = {name: torch.arange(6.0).reshape(2, 3) + index for index, name in enumerate("abc")}
    expected = digest(values)
    again = {name: values[name].T.contiguous().T if strided else values[name] for name in order}
    assert digest(again) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"w": torch.zeros(6)},
        {"v": torch.zeros(2, 3)},
        {"w": torch.zeros(2, 3, dtype=torch.float64)},
        {"w": torch.zeros(2, 3).index_fill(0, torch.tensor(1), -0.0)},
    ],
)
def test_digest_tells_shape_name_dtype_and_bytes_apart(other: dict[str, torch.Tensor]) -> None:
    assert digest(other) != digest({"w": torch.zeros(2, 3)})


def test_digest_takes_every_dtype_and_scalars() -> None:
    assert len(digest({"h": torch.ones(3, dtype=torch.bfloat16), "n": torch.tensor(4)})) == 64


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        read_tensors(tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a checkpoint" * 100)
    with pytest.raises(WeightsError, match=name):
        read_tensors(tmp_path / name)


def test_a_checkpoint_without_a_state_dict_is_told(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "weights": {"w": torch.zeros(1)}}, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match="'epoch' is no tensor"):
        read_tensors(tmp_path / "net.pt")


def test_seeded_leaves_the_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    with seeded(7):
        first = torch.rand(3)
    with seeded(7):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.random.get_rng_state(), before)
