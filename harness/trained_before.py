"""Readouts that an earlier run into the same folder trained as this one would: only how they are scored differs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from harness.distributed import gather
from harness.errors import ResultsError
from harness.identity import training_key
from harness.left_out import tells_of_lost
from harness.predictor import is_cell, read_about
from harness.readout import Readout, rebuilt
from harness.readout_files import load_readout, read_info
from harness.results import RESULT, cell_folder
from harness.student import Student

if TYPE_CHECKING:
    from harness.cells import Cell

PASSES = "train_"
"""How the names of the seconds of shared training passes begin."""
OF_SCORING = ("test_", "predict", "score", "draw")


@dataclass(frozen=True)
class Trained:
    """A readout as it goes from the process that reads it to all others, and what its training took."""

    kind: str
    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    info: dict[str, Any]
    seconds: dict[str, float]

    @property
    def own_seconds(self) -> dict[str, float]:
        """Of the cell alone."""
        return {phase: s for phase, s in self.seconds.items() if not phase.startswith(PASSES)}

    @property
    def shared_seconds(self) -> dict[str, float]:
        """Of the passes that it shared, by phase."""
        return {phase.removeprefix(PASSES): s for phase, s in self.seconds.items() if phase.startswith(PASSES)}


def trained_before(folder: Path, keys: Iterable[str], wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Trained]:
    """Of the cells `wanted` (key -> resolved) those that one of `keys` in a results folder was trained as."""
    known: dict[str, Path] = {}
    # of several the last counts: one that was calibrated, too
    for own in sorted((cell_folder(folder, key) for key in keys), key=lambda own: ("density" in read_info(own), own)):
        try:
            about = read_about(own) if is_cell(own) else {}
            known[training_key(about["resolved"])] = own
        except (ResultsError, LookupError, TypeError):  # no readout is saved, or somebody damaged what it is
            continue
    names = {key: training_key(resolved) for key, resolved in wanted.items()}
    found = {key: _read(known[name]) for key, name in names.items() if name in known}
    return {key: trained for key, trained in found.items() if trained is not None}


def as_students(found: Mapping[str, Trained] | None, cells: Mapping[str, Cell]) -> list[Student]:
    """What the process that writes has `found`, in every process, as the cells that were trained."""
    shared = next(one for one in gather(found) if one is not None)
    made = []
    for key, trained in shared.items():
        readout = rebuilt(trained.kind, trained.tensors, trained.settings, dict(trained.info))
        student = Student(key, cells[key], readout=readout)
        student.watch.seconds.update(trained.own_seconds)
        made.append(student)
    return made


def _read(own: Path) -> Trained | None:
    """None for what cannot be read, or predicts from held-out gaze."""
    try:
        readout = load_readout(own)
        seconds = json.loads((own / RESULT).read_text(encoding="utf-8"))["seconds"]
    except (ResultsError, OSError, ValueError, LookupError):
        return None
    if type(readout).scored_against is not Readout.scored_against:
        return None
    tensors, settings = readout.state()
    kept = {phase: s for phase, s in seconds.items() if not phase.startswith(OF_SCORING)}
    return Trained(readout.kind, tensors, settings, _as_trained(readout.info), kept)


def _as_trained(info: Mapping[str, Any]) -> dict[str, Any]:
    """Its account without what was found out when it was scored."""
    told = {name: value for name, value in info.items() if name not in ("layer_shares", "warnings")}
    warnings = [words for words in info.get("warnings", ()) if not tells_of_lost(words, "test")]
    return {**told, "warnings": warnings} if warnings else told


def shared_seconds(found: Sequence[Trained]) -> dict[str, float]:
    """Of the passes that these were trained by, where it was the same ones; nothing else."""
    told = [one.shared_seconds for one in found]
    return dict(told[0]) if told and all(one == told[0] for one in told) else {}
