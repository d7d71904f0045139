"""Kept caches: folders named by what is in them, with a manifest, locks, and an eye on their total size."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypedDict

from harness.feature_cache._disk import DiskBlock, LayerFile, checksum
from harness.feature_cache._precision import DTYPES, Precision
from harness.feature_cache._scratch import remove_at_once

log = logging.getLogger("salprobe")

VERSION = 1
"""Raised when the files or their meaning change."""
MANIFEST, LOCK = "manifest.json", "lock"
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Keep:
    """A cache that outlives its process."""

    facts: Mapping[str, object]
    """Everything that can change the features or their order, JSON-able."""
    budget: int
    """Bytes that all kept caches of the folder may take together."""


class LayerEntry(TypedDict):
    """A layer's file in the manifest."""

    name: str
    file: str
    shape: list[int]
    bytes: int
    crc32: int


class BlockEntry(TypedDict):
    """Images of one shape: the rows in the order in which the files hold them."""

    rows: list[int]
    layers: list[LayerEntry]


class Manifest(TypedDict):
    """What a kept folder says of itself."""

    version: int
    facts: dict[str, object]
    precision: Precision
    blocks: list[BlockEntry]


def cache_key(**facts: object) -> str:
    """sha256 (hex) over the facts, in any order, and the format's version; TypeError if one is not JSON-able."""
    whole = {"version": VERSION, "facts": facts}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, allow_nan=False).encode()).hexdigest()


def take(folder: Path) -> BinaryIO:
    """Mark a kept folder as in use, and used just now; held while the returned file is open. May raise OSError."""
    lock = (folder / LOCK).open("ab")
    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    (folder / LOCK).touch()
    return lock


def remove_unused(kept: Path) -> bool:
    """Remove a kept folder unless some process uses it or may not be hindered; whether it is gone."""
    try:
        with (kept / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_at_once(kept)
    except OSError:
        return False
    return True


def make_room(folder: Path, wanted: int, budget: int) -> bool:
    """Remove the least recently used kept caches until `wanted` more bytes fit the budget; whether they do."""
    sizes = {kept: _size(kept) for kept in folder.iterdir() if KEY.fullmatch(kept.name)}
    total = sum(sizes.values())
    for kept in sorted(sizes, key=_last_used):
        if total + wanted <= budget:
            break
        if remove_unused(kept):
            log.info("feature cache: removed %s, not used for longest, to make room", kept.name[:12])
            total -= sizes[kept]
    return total + wanted <= budget


def write_manifest(
    folder: Path, facts: Mapping[str, object], precision: Precision, blocks: Sequence[tuple[list[int], DiskBlock]]
) -> None:
    """Say what the folder holds: rows in order and one file a layer for each block. May raise OSError."""
    manifest: Manifest = {
        "version": VERSION,
        "facts": dict(facts),
        "precision": precision,
        "blocks": [{"rows": rows, "layers": _entries(block)} for rows, block in blocks if rows],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def read_kept(folder: Path, facts: Mapping[str, object]) -> tuple[Precision, list[tuple[list[int], DiskBlock]]]:
    """(precision, [(rows in order, block)]); ValueError says what is wrong with it, OSError what cannot be read."""
    try:
        manifest: Manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["version"] != VERSION or manifest["facts"] != json.loads(json.dumps(dict(facts))):
            raise ValueError("its manifest tells of something else")
        dtype = DTYPES[manifest["precision"]]
        blocks = []
        for entry in manifest["blocks"]:
            files = {}
            for layer in entry["layers"]:
                file = LayerFile(folder / Path(layer["file"]).name, layer["shape"], dtype, layer["crc32"])
                _verify(file, layer["bytes"], len(entry["rows"]))
                files[layer["name"]] = file
            blocks.append((entry["rows"], DiskBlock(files, len(entry["rows"]), len(entry["rows"]))))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its manifest is not one ({error!r})") from error
    return manifest["precision"], blocks


def _verify(file: LayerFile, size: int, images: int) -> None:
    found = file.path.stat().st_size
    if found != size or size != images * file.image_bytes:
        raise ValueError(f"{file.path.name} has {found} bytes, {images * file.image_bytes} were written")
    if checksum(file.path) != file.crc32:
        raise ValueError(f"{file.path.name} is not what was written (CRC-32)")


def _entries(block: DiskBlock) -> list[LayerEntry]:
    return [
        {
            "name": name,
            "file": file.path.name,
            "shape": list(file.shape),
            "bytes": block.used * file.image_bytes,
            "crc32": file.crc32,
        }
        for name, file in block.files.items()
    ]


def _size(kept: Path) -> int:
    try:
        return sum(file.stat().st_size for file in kept.iterdir())
    except OSError:  # another process is removing it
        return 0


def _last_used(kept: Path) -> float:
    try:
        return (kept / LOCK).stat().st_mtime
    except OSError:
        return 0.0
