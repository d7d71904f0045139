"""What is between training and results as snapshots: the readouts, and the scores of the held-out images so far."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch

from harness import interrupt
from harness.readout import rebuilt
from harness.small_maps import SmallMaps
from harness.student import Student
from harness.training_state import restore_stream, stream_state, training_names
from harness.types import Batch

if TYPE_CHECKING:
    from harness.cells import Cell
    from harness.evaluation import Scores
    from harness.per_image import PerImage
    from harness.snapshots import Snapshots
    from harness.stream import Stream

log = logging.getLogger("salprobe")
READOUTS, SCORES = "readouts", "scores"


def keep_students(students: Sequence[Student], stream: Stream, snapshots: Snapshots) -> None:
    """Trained and calibrated cells in the place of the passes that made them."""
    content = {
        "cells": [s.key for s in students if s.readout is None or s.readout.saved],
        "students": {s.key: _student(s) for s in students if s.readout is None or s.readout.saved},
        "stream": stream_state(stream),
    }
    snapshots.write_instead(READOUTS, content, training_names(snapshots.names()))


def kept_students(cells: Mapping[str, Cell], stream: Stream, snapshots: Snapshots) -> list[Student] | None:
    """The inverse, for some of the cells; None where one of them could not be kept, being a function."""
    content = snapshots.read(READOUTS)
    if not cells.keys() <= content["students"].keys():
        return None
    restore_stream(stream, content["stream"])
    found = []
    for key, cell in cells.items():
        saved = content["students"][key]
        student = Student(key, cell, error=saved["error"])
        student.watch.seconds.update(saved["seconds"])
        if saved["readout"] is not None:
            student.readout = rebuilt(saved["kind"], saved["readout"], *json.loads(saved["account"]))
        found.append(student)
    return found


class ScoringState:
    """Watches an evaluation; without `snapshots` nothing is kept."""

    def __init__(self, snapshots: Snapshots | None = None) -> None:
        self.snapshots = snapshots
        self.turn = -1
        """The last held-out image that this process has scored."""
        self._scores: Mapping[str, Scores] = {}
        self._stream: Stream | None = None

    def restore(self, scores: Mapping[str, Scores], stream: Stream) -> None:
        """Fill in what this process had scored of the stream, if that is known of all these readouts."""
        self._scores, self._stream = scores, stream
        if self.snapshots is None or SCORES not in self.snapshots.names():
            return
        try:
            content = self.snapshots.read(SCORES)
        except Exception as error:  # whatever a damaged file makes torch raise
            log.warning("%s cannot be read, the images are scored again: %s", self.snapshots.folder / SCORES, error)
            return
        if scores.keys() <= content["scores"].keys():
            self.turn = content["turn"]
            restore_stream(stream, content["stream"])
            for key, one in scores.items():
                _fill(one, content["scores"][key])

    def batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, with a snapshot between two of them where one is due, and one at the end."""
        with closing(batches):  # type: ignore[type-var]
            for batch in batches:
                yield batch
                self.turn = batch.turns[-1]
                if self.snapshots is not None:
                    self.snapshots.keep_between(SCORES, self._content)
                else:
                    interrupt.check()
        if self.snapshots is not None:
            self.snapshots.write(SCORES, self._content())

    def _content(self) -> dict[str, Any]:
        scores = {key: _scores(one) for key, one in self._scores.items()}
        return {"turn": self.turn, "scores": scores, "stream": stream_state(self._stream) if self._stream else None}


def _student(student: Student) -> dict[str, Any]:
    document: dict[str, Any] = {"error": student.error, "seconds": dict(student.watch.seconds), "readout": None}
    if student.readout is not None:
        tensors, settings = student.readout.state()
        document |= {"kind": student.readout.kind, "readout": tensors}
        document["account"] = json.dumps([settings, student.readout.info])
    return document


def _scores(scores: Scores) -> dict[str, Any]:
    return {
        "per_image": _per_image(scores.per_image),
        "n_constant": scores.n_constant,
        "maps": {name: torch.from_numpy(array) for name, array in scores.maps.arrays().items()},
        "layer_shares": scores.layer_shares.covariances(),
        "error": scores.error,
        "seconds": dict(scores.watch.seconds),
        "broken_metrics": dict(scores.broken_metrics),
    }


def _fill(scores: Scores, saved: Mapping[str, Any]) -> None:
    ids, why = saved["per_image"]["ids"].tolist(), saved["per_image"]["unscored"]
    columns = {metric: column.tolist() for metric, column in saved["per_image"]["columns"].items()}
    scores.per_image.append(ids, columns, [why.get(image, "") for image in ids])
    scores.n_constant, scores.error = saved["n_constant"], saved["error"]
    scores.maps = SmallMaps.of_arrays({name: array.numpy() for name, array in saved["maps"].items()})
    scores.layer_shares.restore(saved["layer_shares"])
    scores.watch.seconds.update(saved["seconds"])
    scores.broken_metrics.update(saved["broken_metrics"])


def _per_image(per_image: PerImage) -> dict[str, Any]:
    columns = {metric: torch.from_numpy(per_image.column(metric)) for metric in per_image.metrics}
    return {"ids": torch.from_numpy(per_image.ids), "columns": columns, "unscored": dict(per_image.unscored)}
