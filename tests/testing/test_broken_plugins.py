"""Deliberately broken backbones, datasets and metrics, each caught by the check that is meant for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from harness import (
    Dataset,
    DatasetReader,
    ModuleBackbone,
    Split,
    backbone,
    dataset,
    metric,
)
from harness.testing import Check, examine_backbone, examine_dataset, examine_metric
from tests.plugins import forgotten


@pytest.fixture(autouse=True)
def _forget_plugins() -> Iterator[None]:
    with forgotten():
        yield


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if check.status == "failed"}


class Net(ModuleBackbone):
    """A convolution."""

    layers = {"0": (4, 2)}  # noqa: RUF012

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1))


def test_a_sound_backbone_passes() -> None:
    assert failed(examine_backbone(backbone("net")(Net))) == {}


def test_layers_that_are_not_as_declared() -> None:
    @backbone("broken", layers={"0": (4, 4), "1": (4, 2)})
    def broken(*, weights: str = "random") -> nn.Module:
        """weights: random."""
        return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())

    assert "mend available_layers()" in failed(examine_backbone(broken))["shapes as declared"]


def test_a_network_that_drops_out() -> None:
    class Dropout(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.5, training=True)

    @backbone("broken", layers={"0": (3, 1)})
    def broken(*, weights: str = "random") -> nn.Module:
        """weights: random."""
        return nn.Sequential(Dropout())

    assert "is dropout on" in failed(examine_backbone(broken))["same features again"]


def test_a_dataset_that_trains_on_its_test_images(tmp_path: Path) -> None:
    from tests.harness.data.roots import save_jpeg

    save_jpeg(tmp_path / "a.jpg")

    @dataset("broken")
    def broken(split, *, root: str):  # type: ignore[no-untyped-def]
        """The one image below root."""
        return [(Path(root) / "a.jpg", [[1, 2], [3, 4]])]

    found = failed(examine_dataset(broken, root=str(tmp_path)))
    assert list(found) == ["no image in both splits"]
    assert "a.jpg" in found["no image in both splits"]


def test_a_dataset_with_points_outside(tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.harness.data.roots import save_jpeg

    for split in ("train", "test"):
        save_jpeg(tmp_path / f"{split}.jpg", seed=len(split))

    @dataset("broken")
    class Broken(DatasetReader):
        """Counts from 1."""

        def read(self, split: Split) -> Dataset:
            found = Dataset.from_fixations("broken", split, [(tmp_path / f"{split}.jpg", [[11, 19]])])
            return replace(found, row=found.row + 1)

    assert "0-based" in failed(examine_dataset(Broken))["points inside their images"]


def test_metrics_that_are_broken() -> None:
    @metric("over_all", higher_is_better=True)
    def over_all(prediction: Tensor, density: Any) -> Tensor:
        """One number for all images."""
        return (prediction * density.values).mean()

    @metric("wrong_way", higher_is_better=False, bounds=(-1.0, 1.0))
    def wrong_way(prediction: Tensor, density: Any) -> Tensor:
        """Correlation."""
        a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (prediction, density.values))
        return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))

    @metric("infinite", higher_is_better=True)
    def infinite(prediction: Tensor, fixations: Any) -> Tensor:
        """A quotient without a guard."""
        return 1e9 + (prediction * fixations.values).sum((1, 2)) / prediction.std((1, 2))

    assert "not over images" in failed(examine_metric(over_all))["one score an image"]
    assert list(failed(examine_metric(wrong_way))) == ["better maps score better"]
    assert "survives constant maps" in failed(examine_metric(infinite))
