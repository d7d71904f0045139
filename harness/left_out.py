"""Images that a run left out, as its results say it: a scroll on the terminal is not where a reader looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.dataset import Dataset, Skipped
from harness.shown import shown

NAMED = 3
"""Images that are named; run.json names all that their dataset could not give."""


def recorded(splits: Sequence[Dataset]) -> list[dict[str, Any]]:
    """The images that the splits' readers left out, for run.json."""
    return [
        {"id": s.id, "split": split.split, "file": shown(s.file), "reason": shown(s.reason)}
        for split in splits
        for s in split.skipped
    ]


def left_out_words(dataset: Mapping[str, Any]) -> str:
    """Of the dataset as run.json has it; empty where nothing was left out."""
    found = dataset.get("skipped") or []
    return _words([(image.get("split"), image["id"], image["reason"]) for image in found], "the dataset")


def lost_words(images: Sequence[Skipped], split: str) -> str:
    """Of images of a split that could not be read when their turn came; empty where there is none."""
    return _words([(None, image.id, shown(image.reason)) for image in images], f"the {split} split")


def tells_of_lost(words: str, split: str) -> bool:
    """Whether these are `lost_words` of that split."""
    return f" of the {split} split left out: " in words


def _words(images: Sequence[tuple[str | None, Any, str]], whose: str) -> str:
    if not images:
        return ""
    named = "; ".join(f"{id_}{f' ({split})' if split else ''}: {reason}" for split, id_, reason in images[:NAMED])
    more = f"; and {len(images) - NAMED} more" if len(images) > NAMED else ""
    count = "1 image" if len(images) == 1 else f"{len(images)} images"
    return f"{count} of {whose} left out: {named}{more}"
