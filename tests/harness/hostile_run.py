"""A run whose every name is hostile: files that are markup, no text, or as long as a disk takes; plugins, too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

SCRIPT = "<script>window.hacked=1</script>"
BROKEN = '"><img src=x onerror="window.hacked=1">'
NAMES: tuple[bytes, ...] = (
    b'"><img src=x onerror="window.hacked=1">.png',
    b"caf\xe9 \x1b[31m.png",
    b"l" * 250 + b".png",
    "日本 [b] $x$ &amp;.png".encode(),
)
READABLE = (BROKEN + ".png", "caf\\udce9 \\x1b[31m.png", "l" * 250 + ".png", "日本 [b] $x$ &amp;.png")
PLUGIN = f"""
from harness import probe

@probe({SCRIPT!r})
def markup(features, density):
    return features.mean(0)

@probe("broken")
def broken(features, density):
    raise ValueError({BROKEN!r})
"""


def pictures(folder: Path) -> list[str]:
    """The images, by their names as Python has them."""
    folder.mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:  # noqa: PTH123 - a name of bytes
            Image.fromarray(pixels).save(file, "PNG")
    return list(map(os.fsdecode, NAMES))


def folder_recipe(root: Path) -> Path:
    """A dataset in the folder layout with these names, and the recipe of a run on it; the recipe's file."""
    names, rng = pictures(root / "images"), np.random.default_rng(0)
    lines = ["image,observer,x,y"]
    for name in names:
        quoted = name.replace('"', '""')
        lines += [f'"{quoted}",{who},{x},{y}' for who in range(3) for x, y in rng.integers(0, 64, (4, 2))]
    (root / "gaze.csv").write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
    (root / "mine.py").write_text(PLUGIN)
    return write_recipe(root, {"reader": "folder", "split": {"test": 2}})


def write_recipe(root: Path, dataset: dict[str, Any]) -> Path:
    """A recipe with markup wherever there may be words."""
    recipe = {
        "name": "hostile",
        "description": SCRIPT,
        "plugins": ["mine.py"],
        "dataset": {"root": str(root), "title": f"</title>{SCRIPT}", **dataset},
        "backbones": ["pixels"],
        "layers": ["all"],
        "probes": ["ridge", "centre", SCRIPT, "broken"],
        "metrics": ["cc", "nss"],
        "grid": 16,
        "folds": 2,
        "workers": 0,
        "pictures": 2,
        "device": "cpu",
    }
    (root / "hostile.yaml").write_text(yaml.safe_dump(recipe))
    return root / "hostile.yaml"
