"""Saliency maps in files: read from any model, matched to stimuli, written from a cell.

One file a map (png, jpg, tiff, npy, npz), one npz with an array or zip with an image a stimulus, or one SALICON
results JSON.
"""

from __future__ import annotations

from harness.predictions.check import Checked, check_maps
from harness.predictions.find import Found, find_maps, id_name
from harness.predictions.readout import StoredReadout
from harness.predictions.stored import StoredMap
from harness.predictions.write import EIGHT_BIT, ENCODERS, FORMATS, TOGETHER, MapWriter, writer_for

__all__ = [
    "EIGHT_BIT",
    "ENCODERS",
    "FORMATS",
    "TOGETHER",
    "Checked",
    "Found",
    "MapWriter",
    "StoredMap",
    "StoredReadout",
    "check_maps",
    "find_maps",
    "id_name",
    "writer_for",
]
