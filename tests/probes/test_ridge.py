"""What ridges of one backbone share is what each of them would have alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import probes._moments
from harness.normal_equations import ridge
from harness.readout import LinearReadout
from probes.ridge import Ridge
from tests.probes.plain import context, stream


def test_ridges_that_differ_in_their_link_are_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    solved = []
    solve = probes._moments.cross_validate

    def counted(*asked: Any) -> Any:
        solved.append(asked)
        return solve(*asked)

    batches, about = stream(), context()
    asked = [Ridge(), Ridge(link="rectified"), Ridge(target="standardised"), Ridge(position=True), Ridge(alphas=(0.5,))]
    monkeypatch.setattr(probes._moments, "cross_validate", counted)
    trainers = [probe.trainer(about) for probe in asked]
    (moments,) = about._shared.values()
    for batch in batches:
        moments.update(batch)
    moments.end_pass()
    for probe, trainer in zip(asked, trainers, strict=True):
        found = trainer.readout()
        alone = solve(trainer.gather, moments.folds, probe.alphas, ridge).solution
        assert isinstance(found, LinearReadout)
        assert (found.link, found.info["alpha"]) == (probe.link, alone.alpha)
        assert torch.equal(torch.cat(list(found.weights.values())), alone.weights[:, 0].float())
        assert found.bias == alone.bias.item()
    assert len(solved) == len(asked) - 1
