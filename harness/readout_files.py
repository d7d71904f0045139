"""A readout on disk: safetensors and JSON, loaded without running code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.errors import ResultsError
from harness.files import make_folder, replace
from harness.readout import Readout, kinds, rebuilt

FORMAT = 1
READOUT, TENSORS = "readout.json", "readout.safetensors"


def save_readout(readout: Readout, folder: Path) -> None:
    """Write `readout.safetensors` and `readout.json` into `folder`; nothing for one that cannot be saved."""
    if not readout.saved:
        return
    from safetensors.torch import save

    tensors, settings = readout.state()
    make_folder(folder)
    replace(folder / TENSORS, save({n: t.detach().cpu().contiguous() for n, t in tensors.items()}))
    document = {"format": FORMAT, "kind": readout.kind, "settings": settings, "info": readout.info}
    replace(folder / READOUT, json.dumps(document, indent=1).encode())


def read_info(folder: Path) -> dict[str, Any]:
    """How a saved readout came about; empty where there is none."""
    try:
        return dict(json.loads((folder / READOUT).read_text(encoding="utf-8"))["info"])
    except (OSError, ValueError, LookupError):
        return {}


def load_readout(folder: Path) -> Readout:
    """Read what `save_readout` wrote; raises ResultsError for a missing, newer or unknown readout."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        document = json.loads((folder / READOUT).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS)
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise ResultsError(f"no readable readout in {folder}: {error}") from error
    if not isinstance(document, dict):
        raise ResultsError(f"{folder / READOUT} is not what a run writes")
    known = kinds()
    if document.get("format") != FORMAT or document.get("kind") not in known:
        raise ResultsError(
            f"{folder / READOUT}: format {document.get('format')}, kind {document.get('kind')!r}; this version "
            f"reads format {FORMAT} and kinds {', '.join(known)} (load the plugin that defines another kind first)"
        )
    try:
        return rebuilt(document["kind"], tensors, document["settings"], dict(document["info"]))
    except Exception as error:  # whatever the kind makes of settings that no run wrote
        raise ResultsError(f"{folder}: its readout is not what a run writes: {error!r}") from error
