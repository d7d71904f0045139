"""A finished run of a moment, pictures, and the command line, for the tests of predicting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TINY: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"reader": "demo", "train": 6, "test": 3, "height": 96, "width": 128},
    "backbones": [{"name": "resnet50", "weights": "random"}],
    "layers": ["layer1", "layer2"],
    "probes": ["ridge", "centre", "observers"],
    "metrics": ["cc", "kld"],
    "grid": 16,
    "folds": 2,
    "workers": 0,
    "pictures": 1,
    "precision": "fp32",
}


def picture(path: Path, height: int = 40, width: int = 60, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)


def salprobe(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    changed = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=changed, timeout=120)


def written(out: Path) -> set[str]:
    return {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
