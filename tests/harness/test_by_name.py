"""What a notebook is given by name is what a run uses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import harness
from harness.errors import RecipeError, UnknownNameError
from tests.harness.test_run import TINY

DATA = {"train": 4, "test": 2, "height": 64, "width": 96}


def test_a_split_by_name() -> None:
    train = harness.open_dataset("demo", "train", **DATA)
    assert (train.split, len(train), train.synthetic) == ("train", 4, True)
    with pytest.raises(UnknownNameError, match="demo"):
        harness.open_dataset("dem0", "train")
    with pytest.raises(RecipeError, match=r"dataset\.hight: unknown key"):
        harness.open_dataset("demo", "train", hight=64)


def test_a_stream_yields_features_and_gaze() -> None:
    test = harness.open_dataset("demo", "test", **DATA)
    network = harness.open_backbone("resnet50", weights="random")
    batches = list(harness.open_stream(test, network, ["layer1", "stem"], device="cpu", grid=(4, 6)).batches())
    assert [id_ for batch in batches for id_ in batch.ids] == test.ids.tolist()
    assert set(batches[0].features) == {"stem", "layer1"}
    assert batches[0].features["layer1"].shape[1:] == (256, 4, 6)
    without = next(iter(harness.open_stream(test, device="cpu").batches()))
    assert not without.features
    assert torch.equal(without.density.values, batches[0].density.values[: len(without)])
    with pytest.raises(UnknownNameError, match="resnet50 has no layer 'layer9'; it has stem"):
        harness.open_stream(test, network, ["layer9"])


def test_a_matrix_from_a_mapping(tmp_path: Path) -> None:
    folder = harness.run_matrix({**TINY, "probes": ["centre"], "backbones": []}, tmp_path)
    assert harness.read_cells(folder).probe.tolist() == ["centre"]
