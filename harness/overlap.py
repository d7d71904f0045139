"""Held-out images that are training images as well: refused, unless the recipe allows it by name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError

if TYPE_CHECKING:
    from harness.data.dataset import Dataset

NAMED = 5
"""Images that an error names."""
RECORDED = 100
"""Images that run.json names."""
Allowed = bool | Sequence[str]
"""Every image, none, or those held-out files (by their names)."""


@dataclass(frozen=True)
class Overlap:
    """Pairs of files of the same bytes: (held-out, training), one for every held-out image that is in both."""

    pairs: tuple[tuple[Path, Path], ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    def record(self, allowed: Allowed) -> dict[str, Any]:
        """As run.json keeps it; empty where there is none."""
        if not self.pairs:
            return {}
        files = [[str(file) for file in pair] for pair in self.pairs[:RECORDED]]
        return {"images": len(self), "allow_overlap": allowed, "files": files}


def find_overlap(train: Dataset, test: Dataset) -> Overlap:
    """The images of both splits, by the sha256 of their files.

    Readers know their files' digests; of a dataset that does not, only files are read whose size the other side has.
    """
    training: dict[str, Path] = {}
    sizes = None if train.image_sha256 and test.image_sha256 else _sizes(train) & _sizes(test)
    for file, digest in _digests(train, sizes):
        training.setdefault(digest, file)
    return Overlap(tuple((file, training[d]) for file, d in _digests(test, sizes) if d in training))


def refuse_overlap(train: Dataset, test: Dataset, allowed: Allowed) -> Overlap:
    """What overlap there is, where the recipe allows it; raises DataError naming the files where it does not."""
    found = find_overlap(train, test)
    if allowed is True:
        return found
    names = set(allowed or ())
    refused = [pair for pair in found.pairs if pair[0].name not in names]
    if refused:
        raise DataError(_words(refused, len(test)))
    return found


def merged(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of several runs that held out other images, as run.json keeps one's; empty where none had any."""
    some = [record for record in records if record]
    files = [pair for record in some for pair in record["files"]][:RECORDED]
    images = sum(record["images"] for record in some)
    return {"images": images, "allow_overlap": some[0]["allow_overlap"], "files": files} if some else {}


def overlap_words(dataset: Mapping[str, Any]) -> str:
    """What a reader of the results has to know, from the dataset as run.json has it; empty where there is none."""
    found = dataset.get("overlap") or {}
    images = found.get("images", 0)
    if not images:
        return ""
    total = dataset.get("test", {}).get("images", "the")
    return f"{images} of {total} held-out images are training images, too (allow_overlap)"


def _words(refused: Sequence[tuple[Path, Path]], held_out: int) -> str:
    lines = [f"  {test} is {train}" for test, train in refused[:NAMED]]
    lines += [f"  and {len(refused) - NAMED} more"] * (len(refused) > NAMED)
    example = ", ".join(test.name for test, _ in refused[:2])
    return "\n".join(
        [
            f"{len(refused)} of {held_out} held-out images are training images, too (the same bytes):",
            *lines,
            "Scores on them would not tell how well new pictures are predicted. Take them out of one of the splits; or "
            f"allow all with allow_overlap: true (--set allow_overlap=true), some with allow_overlap: [{example}]",
        ]
    )


def _sizes(dataset: Dataset) -> set[int]:
    return {file.stat().st_size for file in dataset.files}


def _digests(dataset: Dataset, sizes: set[int] | None) -> list[tuple[Path, str]]:
    """(file, sha256) of all files, or of those that have one of these sizes."""
    if sizes is None:
        return list(zip(dataset.files, dataset.image_sha256, strict=True))
    return [(file, _sha256(file)) for file in dataset.files if file.stat().st_size in sizes]


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
