"""Where things are kept on this machine: one cache folder, moved by SALPROBE_CACHE."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with $VARIABLE and ~ written out where there is such a variable or home; else as it is."""
    path = Path(os.path.expandvars(path))
    try:
        return path.expanduser()
    except RuntimeError:  # ~somebody who has no home here
        return path


def cache_folder(part: str) -> Path:
    """`$SALPROBE_CACHE/<part>` or the platform's user cache, made if missing."""
    import platformdirs

    root = os.environ.get("SALPROBE_CACHE")
    folder = (expanded(root) if root else platformdirs.user_cache_path("salprobe")) / part
    folder.mkdir(parents=True, exist_ok=True)
    return folder
