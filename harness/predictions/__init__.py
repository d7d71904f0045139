"""Saliency maps in files: read from any model, matched to stimuli, written from a cell.

One file a map (png, jpg, tiff, npy, npz), one npz with an array a stimulus, or one SALICON results JSON.
"""

from __future__ import annotations

from harness.predictions.decode import decode_map
from harness.predictions.find import Found, find_maps
from harness.predictions.salicon_json import read_results
from harness.predictions.stored import StoredMap
from harness.predictions.write import FORMATS, MapWriter, to_grey, writer_for

__all__ = [
    "FORMATS",
    "Found",
    "MapWriter",
    "StoredMap",
    "decode_map",
    "find_maps",
    "read_results",
    "to_grey",
    "writer_for",
]
