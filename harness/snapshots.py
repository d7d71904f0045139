"""Unfinished work on disk: each process keeps its own snapshots, and what all of them have can be gone on from."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from harness import distributed, interrupt
from harness.files import replace, replacing, sync_folder

log = logging.getLogger("salprobe")
STATE = "state"
"""The folder for it, in a results folder."""
FACTS = "facts"
SHARE = 0.02
"""Of the time goes into snapshots at most, whatever a recipe asks for."""


class Snapshots:
    """Named snapshots in one folder, each written in one step. `facts` is all that must be the same to go on."""

    def __init__(self, root: Path, facts: Mapping[str, Any], every_s: float) -> None:
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        self.folder, self.facts, self.every_s = root / digest, facts, every_s
        self._cost, self._last, self._told = 0.0, time.monotonic(), False

    @classmethod
    def all_of(cls, root: Path, every_s: float) -> list[Snapshots]:
        """Everything that this process left below `root` and that can be told."""
        found = []
        for path in sorted(root.glob(f"*/{FACTS}.{distributed.rank()}-of-*.json")):
            try:
                one = cls(root, json.loads(path.read_text(encoding="utf-8")), every_s)
            except (OSError, ValueError):
                continue
            if one.folder == path.parent:
                found.append(one)
        return found

    @property
    def due(self) -> bool:
        """Whether it is time for another one."""
        return time.monotonic() - self._last >= (max(self.every_s, self._cost / SHARE) if self.every_s else 0)

    def names(self) -> set[str]:
        """What this process has."""
        return {path.name.removesuffix(f".{_file('', 'pt')}") for path in self.folder.glob(f"*.{_file('', 'pt')}")}

    def common(self) -> set[str]:
        """What all processes have."""
        return set.intersection(*distributed.gather(self.names()))

    def write(self, name: str, content: Mapping[str, Any]) -> bool:
        """Keep a snapshot, or warn where that cannot be: tensors and plain values in dicts, lists and tuples."""
        start, kept = time.monotonic(), False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (facts := self.folder / _file(FACTS, "json")).exists():
                replace(facts, json.dumps(self.facts).encode())
            with replacing(self._path(name)) as temporary:
                torch.save(content, temporary)
            sync_folder(self.folder)
            kept = True
        except (OSError, RuntimeError) as error:  # a full disk is torch's RuntimeError
            level = logging.DEBUG if self._told else logging.WARNING
            log.log(
                level,
                "the state of this run could not be saved in %s (is the disk full?): it goes on, but stopped now it "
                "would begin its unfinished cells anew (%s)",
                self.folder,
                error,
            )
            self._told = True
        self._last = time.monotonic()
        self._cost = self._last - start
        return kept

    def write_instead(self, name: str, content: Mapping[str, Any], earlier: Iterable[str]) -> None:
        """Keep a snapshot in the place of earlier ones, which go when all processes have it: if not all, none."""
        if all(distributed.gather(self.write(name, content))):
            self.remove(earlier)

    def read(self, name: str) -> dict[str, Any]:
        """A snapshot; no code in it is run. May raise whatever a damaged file makes torch raise."""
        content: dict[str, Any] = torch.load(self._path(name), weights_only=True, mmap=True)
        return content

    def remove(self, names: Iterable[str]) -> None:
        """Let go of some."""
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Let go of everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_between(self, name: str, make: Callable[[], Mapping[str, Any]]) -> None:
        """Between two batches: a snapshot if one is due, or if a signal has come, which is then raised."""
        if interrupt.requested() or self.due:
            self.write(name, make())
        interrupt.check()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.{_file('', 'pt')}"


def _file(name: str, ending: str) -> str:
    """Every process has files of its own."""
    own = f"{distributed.rank()}-of-{distributed.size()}.{ending}"
    return f"{name}.{own}" if name else own
