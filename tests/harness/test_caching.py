"""The cache's part in a run: kept features are used again, and where features lie never changes a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from backbones.resnet50 import LAYERS, LoadedResNet50, ResNet50
from harness.caching import cache_facts
from harness.data.demo import Demo
from harness.feature_cache import cache_key
from harness.machine import stream_settings
from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import read_cells
from harness.run import run

RECIPE: dict[str, Any] = {
    "name": "cached",
    "dataset": {"reader": "demo", "train": 9, "test": 3, "height": 96, "width": 128},
    "backbones": [{"name": "resnet50", "weights": "random"}],
    "layers": [["layer1", "layer2"]],
    "probes": ["ridge", {"name": "sgd", "epochs": 2}],
    "grid": 16,
    "folds": 3,
    "precision": "fp32",
    "workers": 0,
    "pictures": 0,
    "metrics": ["cc", "nss", "ig"],
}


class Told(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def say(self, message: str) -> None:
        self.words.append(message)


def go(out: Path, **cache: object) -> tuple[pd.DataFrame, str]:
    told = Told()
    outcome = run(make_plan(parse_recipe({**RECIPE, "cache": cache})), out, told)
    return read_cells(outcome.folder).set_index("probe"), "\n".join(told.words)


def test_kept_features_serve_a_later_run(tmp_path: Path) -> None:
    folder = str(tmp_path / "features")
    first, said = go(tmp_path / "a", keep=True, folder=folder)
    assert "kept cache" not in said
    assert first["time_train_forward_s"].notna().all()
    second, said = go(tmp_path / "b", keep=True, folder=folder)
    assert "training features: from the kept cache of an earlier run" in said
    assert second.get("time_train_forward_s", pd.Series(0.0)).fillna(0).eq(0).all()  # the network did not train again
    np.testing.assert_allclose(second[["cc", "nss"]], first[["cc", "nss"]], atol=1e-6)
    assert list(first.cell_key) == list(second.cell_key)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_numbers_do_not_depend_on_whether_features_fit(tmp_path: Path, precision: str) -> None:
    """Half precision is part of the key, and the same with a cache, without one, and on disk."""
    exact, _ = go(tmp_path / "exact")
    runs = [go(tmp_path / f"{i}", precision=precision, **how) for i, how in enumerate(
        ({}, {"budget_gib": 0}, {"tiers": ["disk"], "folder": str(tmp_path / "disk")})
    )]  # fmt: skip
    (cached, _), (again, said), (disk, where) = runs
    assert "does not fit" in said
    assert "on disk" in where
    for other in (again, disk):
        np.testing.assert_allclose(other[["cc", "nss"]], cached[["cc", "nss"]], atol=1e-6)
        assert list(other.cell_key) == list(cached.cell_key)
    assert not set(cached.cell_key) & set(exact.cell_key)
    np.testing.assert_allclose(cached[["cc", "nss"]], exact[["cc", "nss"]], atol=0.02)
    assert not list((tmp_path / "disk").rglob("*.bin"))  # nothing stays behind


def test_whatever_changes_a_feature_changes_the_key() -> None:
    train = Demo(train=4, test=2, height=96, width=128).read("train")
    cpu = torch.device("cpu")

    def key(
        layers: tuple[str, ...] = ("layer1",), seed: int = 0, data: Any = train, made_by: Any = (), **changes: Any
    ) -> str:
        recipe = parse_recipe({**RECIPE, **changes})
        loaded = ResNet50(weights="random", seed=seed).load(cpu)
        chosen = tuple(layer for layer in LAYERS if layer.name in layers)
        settings = stream_settings(recipe, None, cpu)
        return cache_key(**cache_facts(recipe.cache, chosen, data, settings, loaded, made_by))

    keys = [
        key(),
        key(layers=("layer1", "layer2")),
        key(seed=1),
        key(made_by=["resnet50@1+mirror"]),
        key(data=train.take([0, 1, 2])),
        key(input={"scale": 0.5}),
        key(input={"size": [96, 128]}),
        key(grid=32),
        key(precision="bf16"),
        key(cache={"precision": "fp16"}),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == key(folds=5, seed=0, batch_size=3, workers=1, cache={"budget_gib": 9, "keep": True})


def test_calibration_does_not_run_the_network_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ridge needs one pass; the images that densities are calibrated on are kept from it, and no others."""
    monkeypatch.setattr("harness.calibration.IMAGES", 4)
    seen = []
    forward = LoadedResNet50.forward

    def counted(self: LoadedResNet50, images: torch.Tensor, layers: Sequence[str]) -> Mapping[str, torch.Tensor]:
        seen.append(len(images))
        return forward(self, images, layers)

    monkeypatch.setattr(LoadedResNet50, "forward", counted)
    changes = {"probes": ["ridge"], "metrics": ["cc", "ig"]}
    found = {}
    for budget in (1, 0):
        seen.clear()
        recipe = parse_recipe({**RECIPE, **changes, "cache": {"budget_gib": budget}})
        found[budget] = read_cells(run(make_plan(recipe), tmp_path / f"{budget}", Silent()).folder)
        assert sum(seen) == 9 + 3 + (0 if budget else 4)
    np.testing.assert_allclose(found[1][["cc", "ig"]], found[0][["cc", "ig"]], atol=1e-6)


def test_what_was_to_be_kept_but_finds_no_disk_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few images that those which densities are calibrated on are all of them, and fit into memory."""
    free = {"device": 0, "host": 2**34, "disk": 0}
    monkeypatch.setattr("harness.feature_cache._placement.free_bytes", lambda device, folder: free)
    cells, said = go(tmp_path / "out", keep=True, folder=str(tmp_path / "features"))
    assert set(cells.status) == {"finished"}
    assert "does not fit" in said
    assert not (tmp_path / "features").exists()
