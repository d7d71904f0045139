"""A cell is named by its key, its label, or words of it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import ResultsError
from harness.export import select_cell

ROWS: list[dict[Any, Any]] = [
    {"cell_key": key, "backbone": b, "weights": w, "layers": layers, "probe": p, "status": s, "error": "boom"}
    for key, b, w, layers, p, s in (
        ("abcd1", "resnet50", "caffe", "layer3", "ridge", "finished"),
        ("abcd2", "resnet50", "caffe", "layer3", "pooled-ridge", "finished"),
        ("bbbb3", "resnet50", "caffe", "layer2+layer3", "ridge", "finished"),
        ("cccc4", "resnet50", "caffe", "layer4", "sgd-kl", "failed"),
        ("dddd5", "none", "none", "none", "centre", "finished"),
        ("eeee6", "resnet50", "caffe", "layer1", "ridge", "finished"),
        ("ffff7", "resnet50", "random(seed=0)", "layer1", "ridge", "finished"),
        ("gggg8", "resnet50", "random(seed=0)", "layer1", "pls", "finished"),
        ("hhhh9", "vgg16", "imagenet", "pool5", "ridge-softplus", "finished"),
        ("iiii0", "vgg16", "imagenet", "pool5", "ridge-softplus-1.25", "finished"),
    )
]


@pytest.mark.parametrize(
    ("wanted", "key"),
    [
        ("abcd1", "abcd1"),
        ("bbbb", "bbbb3"),
        ("resnet50/caffe · layer3 · ridge", "abcd1"),
        ("layer3 ridge", "abcd1"),
        ("ridge layer3", "abcd1"),
        ("pooled", "abcd2"),
        ("layer2", "bbbb3"),
        ("centre", "dddd5"),
        ("layer3 · ridge · resnet50/caffe", "abcd1"),  # as a run of MLflow is called
        ("layer1 ridge", "eeee6"),
        ("random layer1 ridge", "ffff7"),
        ("softplus", "hhhh9"),
        ("softplus-1.25", "iiii0"),
    ],
)
def test_a_cell_by_key_or_label(wanted: str, key: str) -> None:
    assert select_cell(ROWS, wanted)["cell_key"] == key


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("abcd", r"2 cells match 'abcd'.*\n  abcd1  resnet50/caffe · layer3 · ridge\n  abcd2 "),
        ("layer3", "2 cells match"),
        ("ridge", "4 cells match"),
        ("layer1", "3 cells match"),
        ("softplus-1.2", "no cell matches"),
        ("nothing", r"no cell matches 'nothing'(.|\n)*dddd5  centre"),
        ("", "no cell matches"),
        ("sgd", "sgd-kl was failed: boom"),
    ],
)
def test_no_cell_or_several(wanted: str, message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        select_cell(ROWS, wanted)
