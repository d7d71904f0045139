"""Stimuli and gaze: the readers, and the one columnar form that they fill."""

from __future__ import annotations

from harness.data.dataset import DATASETS, Dataset, DatasetReader, Skipped, Split, dataset
from harness.data.images import BadImageError, read_image, resize_image
from harness.data.source import Source

__all__ = [
    "DATASETS",
    "BadImageError",
    "Dataset",
    "DatasetReader",
    "Skipped",
    "Source",
    "Split",
    "dataset",
    "read_image",
    "resize_image",
]
