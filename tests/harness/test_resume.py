"""The same folder again: what is finished is reused, what is new costs its own passes, what is left over is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console

from harness.album import Album
from harness.extraction import Extractor
from harness.finished_run import read_run
from harness.heads import HeadBank
from harness.lock import locked
from harness.overwrite import Overwrite
from harness.plan import make_plan
from harness.recipe import parse_recipe
from harness.results import cell_folder, read_cells, read_pairs, read_per_image
from harness.run import Outcome, run
from harness.scoring_state import ScoringState
from harness.stream import Stream
from harness.types import Batch
from reports.terminal import print_leaderboard
from tests.harness.interrupted import PLUGIN, RECIPE, Told, assert_same_results, plugin

__all__ = ["plugin"]

FEW: list[Any] = [
    {"name": "ridge", "layers": ["1"]},
    {"name": "sgd", "epochs": 2, "layers": ["1"]},
    "centre",
    "observers",
]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...], int]]:
    """(split, layers, images) of every batch that goes through a network."""
    seen: list[tuple[str, tuple[str, ...], int]] = []
    through = Extractor.features

    def counted(self: Extractor, pixels: torch.Tensor, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        seen.append(("", tuple(layer.name for layer in self.layers), len(pixels)))
        return through(self, pixels, size)

    monkeypatch.setattr(Extractor, "features", counted)
    return seen


def go(out: Path, plugin: str, overwrite: Overwrite = Overwrite.MISSING, **changes: Any) -> tuple[Outcome, str]:
    told = Told()
    backbones = [{"name": "own_net"}]
    recipe = {**RECIPE, "plugins": [plugin], "backbones": backbones, "probes": FEW, "save_every_s": 60, **changes}
    outcome = run(make_plan(parse_recipe(recipe)), out, told, overwrite=overwrite)
    return outcome, "\n".join(told.words)


def test_nothing_missing_costs_no_pass(tmp_path: Path, plugin: str, passes: list[Any]) -> None:
    first, _ = go(tmp_path / "a", plugin)
    before, written = read_cells(first.folder), len(passes)
    album = Album(first.folder).ids
    second, said = go(tmp_path / "a", plugin)
    assert len(passes) == written
    assert second.reused == set(before.cell_key)
    assert "own_net: 2 of 2 are finished and reused" in said
    pd.testing.assert_frame_equal(read_cells(first.folder), before, check_exact=True)
    assert Album(first.folder).ids == album
    with locked(first.folder):  # who reads does not ask
        assert len(read_run(first.folder).results) == 4
    console = Console(record=True, width=200, file=(tmp_path / "said").open("w"))
    print_leaderboard(first.folder, console, second.reused)
    assert console.export_text().count("reused") == 4
    print_leaderboard(first.folder, console)
    assert "reused" not in console.export_text()


def test_a_new_probe_costs_its_own_passes_and_the_tables_are_those_of_one_run(
    tmp_path: Path, plugin: str, passes: list[Any]
) -> None:
    more = [*FEW[:2], {"name": "ridge", "layers": ["3"], "position": True}, *FEW[2:]]
    go(tmp_path / "grown", plugin)
    passes.clear()
    grown, said = go(tmp_path / "grown", plugin, probes=more)
    assert {layers for _, layers, _ in passes} == {("3",)}
    assert sum(images for *_, images in passes) == 10 + 5  # one training pass, the held-out images, nothing twice
    assert "own_net: 2 of 3 are finished and reused" in said
    at_once, _ = go(tmp_path / "at-once", plugin, probes=more)
    assert_same_results(grown.folder, at_once.folder)
    assert len(read_pairs(grown.folder)) == 10


def test_cells_that_are_not_asked_for_any_more_keep_their_files(tmp_path: Path, plugin: str) -> None:
    first, _ = go(tmp_path, plugin)
    before = read_cells(first.folder).set_index("probe")
    outcome, said = go(tmp_path, plugin, probes=FEW[1:])
    assert "1 finished cells of" in said
    assert (
        "are not part of this recipe: their files stay, the tables leave them out (own_net/random · 1 · ridge)" in said
    )
    assert set(read_cells(outcome.folder).probe) == {"sgd-mse", "centre", "observers"}
    assert before.cell_key["ridge"] not in set(read_per_image(outcome.folder).cell_key)
    assert (cell_folder(first.folder, before.cell_key["ridge"]) / "result.json").exists()
    again, _ = go(tmp_path, plugin)
    assert len(again.reused) == 4


def test_overwrite_all_computes_again_and_an_interrupt_does_not_bring_the_old_back(
    tmp_path: Path, plugin: str, passes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = go(tmp_path, plugin)
    once = len(passes)
    batches = Stream.batches

    def stopping(self: Stream, *arguments: Any, **how: Any) -> Iterator[Batch]:
        if self.backbone is not None:
            raise KeyboardInterrupt
        yield from batches(self, *arguments, **how)

    monkeypatch.setattr(Stream, "batches", stopping)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, plugin, Overwrite.ALL)
    monkeypatch.setattr(Stream, "batches", batches)
    outcome, said = go(tmp_path, plugin)
    assert len(passes) == 2 * once
    assert outcome.reused == set(read_cells(first.folder).query("backbone == 'none'").cell_key)
    assert "cells without a network: 2 of 2 are finished and reused" in said
    assert "not part of this recipe" not in said
    assert not (first.folder / "state").exists()
    assert len(go(tmp_path, plugin)[0].reused) == 4


def test_a_clock_that_is_set_back_loses_nothing_and_brings_nothing_back(
    tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the runs by an hour, and within them by an hour whenever somebody looks."""
    now = [time.time() + 3600]
    monkeypatch.setattr(time, "time", lambda: now[0])
    first, _ = go(tmp_path, plugin)
    old = {path.parent.name: path.read_bytes() for path in first.folder.glob("cells/*/result.json")}
    now[0] -= 3600
    batches = Stream.batches

    def stopping(self: Stream, *arguments: Any, **how: Any) -> Iterator[Batch]:
        if self.backbone is not None:
            raise KeyboardInterrupt
        now[0] -= 3600
        yield from batches(self, *arguments, **how)

    monkeypatch.setattr(Stream, "batches", stopping)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, plugin, Overwrite.ALL)
    monkeypatch.setattr(Stream, "batches", batches)
    now[0] -= 3600
    outcome, said = go(tmp_path, plugin)
    assert outcome.reused == set(read_cells(first.folder).query("backbone == 'none'").cell_key)
    new = {path.parent.name: path.read_bytes() for path in first.folder.glob("cells/*/result.json")}
    assert new.keys() == old.keys()
    assert all(new[key] != old[key] for key in new)
    assert "2 of 2 are finished and reused" in said
    now[0] -= 3600
    assert len(go(tmp_path, plugin)[0].reused) == 4


def test_the_tables_show_what_is_finished_also_before_a_run_has_come_to_it(
    tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, _ = go(tmp_path, plugin)
    before = read_cells(outcome.folder)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    plan = make_plan(parse_recipe({**RECIPE, "plugins": [plugin]}))  # both networks, a second one is new
    monkeypatch.setattr(type(plan.groups[1].backbone), "load", stop)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, plugin, probes=[*FEW, "uniform"])
    after = read_cells(outcome.folder)
    assert set(after.cell_key) > set(before.cell_key)
    assert set(after.probe) == {*before.probe, "uniform"}
    assert len(read_per_image(outcome.folder)) == 5 * 5


def test_later_passes_go_on_from_the_features_of_the_first(
    tmp_path: Path, plugin: str, passes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They went with their process: each image goes through the network once more, in the batches that it came in."""
    update = HeadBank.update

    def stopping(self: HeadBank, batch: Batch) -> None:
        if self._epoch == 2:
            raise KeyboardInterrupt
        update(self, batch)

    monkeypatch.setattr(HeadBank, "update", stopping)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "stopped", plugin)
    monkeypatch.setattr(HeadBank, "update", update)
    first = passes.copy()
    passes.clear()
    stopped, said = go(tmp_path / "stopped", plugin)
    assert "training goes on after 2 whole passes" in said
    assert passes[: len(first)] == first
    assert sum(images for *_, images in passes) == 10 + 5
    whole, _ = go(tmp_path / "whole", plugin)
    assert_same_results(stopped.folder, whole.folder)


FUNCTION = """
from harness import Probe, Trainer

@probe("by-function")
class ByFunction(Probe):
    '''The mean of the features: a function, of which nothing can be kept.'''
    def trainer(self, context):
        return FunctionTrainer()

class FunctionTrainer(Trainer):
    def readout(self):
        return lambda batch: batch.features["1"].mean(1)
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_stopped_while_it_was_scored_with_readouts_that_cannot_be_read_back(
    tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch, *, damaged: bool
) -> None:
    """A function alone is not kept, a file may be damaged: the cell is trained again, and nothing is in its way."""
    Path(plugin).write_text(PLUGIN + FUNCTION)
    batches = ScoringState.batches

    def stopping(self: ScoringState, some: Iterator[Batch]) -> Iterator[Batch]:
        for index, batch in enumerate(batches(self, some)):
            if index:
                raise KeyboardInterrupt
            yield batch

    probes = [FEW[0] if damaged else {"name": "by-function", "layers": ["1"]}]
    few: dict[str, Any] = {"probes": probes, "save_every_s": 0}
    with monkeypatch.context() as patched:
        patched.setattr(ScoringState, "batches", stopping)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "a", plugin, **few)
    (readouts,) = (tmp_path / "a").rglob("readouts.*.pt")
    if damaged:
        readouts.write_bytes(b"garbage")
    again, said = go(tmp_path / "a", plugin, **few)
    assert ("cannot be used" in said) == damaged
    at_once, _ = go(tmp_path / "b", plugin, **few)
    pd.testing.assert_frame_equal(read_per_image(again.folder), read_per_image(at_once.folder), check_exact=True)


def test_failed_cells_are_tried_again(tmp_path: Path, plugin: str) -> None:
    fragile = Path(plugin).with_name("fragile.py")
    flag = tmp_path / "broken"
    fragile.write_text(
        "from pathlib import Path\nfrom harness import probe\n\n@probe('fragile')\n"
        "def fragile(features, density, *, shrink: float = 1.0):\n    '''Breaks. shrink: nothing.'''\n"
        f"    if Path({str(flag)!r}).exists():\n        raise ValueError('not today')\n    return features.mean(0)\n"
    )
    how: dict[str, Any] = {"plugins": [plugin, str(fragile)], "layers": ["1"], "probes": ["ridge", "fragile"]}
    flag.touch()
    outcome, _ = go(tmp_path, plugin, **how)
    cells = read_cells(outcome.folder).set_index("probe")
    assert cells.status.to_dict() == {"ridge": "finished", "fragile": "failed"}
    result = json.loads((cell_folder(outcome.folder, cells.cell_key["fragile"]) / "result.json").read_text())
    assert (result["status"], result["error"]) == ("failed", "ValueError: not today (fragile.py, line 8)")
    flag.unlink()
    outcome, said = go(tmp_path, plugin, **how)
    assert "1 of 2 are finished and reused" in said
    assert outcome.counts == {"finished": 2}
