"""Banded ridge as a probe: what it reports, and when there is nothing to choose."""

from __future__ import annotations

import json

import pytest
import torch

from harness import LinearReadout
from harness.group_penalties import GroupsCrossValidated, Step
from harness.normal_equations import CrossValidated, Solution
from probes.banded_ridge import BandedRidge, search_info
from probes.ridge import Ridge
from tests.harness.batches import LAYERS
from tests.probes.plain import stream, taught


def test_a_penalty_a_layer_and_never_worse_than_ridge() -> None:
    banded, ridge = taught(BandedRidge(), stream()), taught(Ridge(), stream())
    assert isinstance(banded, LinearReadout)
    assert set(banded.info["layer_alphas"]) == {"fine", "coarse"}
    assert banded.info["common_alpha"] == ridge.info["alpha"]
    assert banded.info["layer_cv_error"] <= min(ridge.info["cv_error"])
    assert len(banded.info["search"]) <= 1 + BandedRidge().steps
    assert json.loads(json.dumps(banded.info)) == banded.info


def test_a_point_of_the_search_that_cannot_be_solved_is_none_in_json() -> None:
    zeros = torch.zeros(1, 1)
    common = CrossValidated(Solution(0.1, zeros, zeros[0]), (0.1, 1.0), (0.5, 0.6))
    found = GroupsCrossValidated(zeros, zeros[0], common, (Step((0.1,), 0.5), Step((1e-9,), float("inf"))))
    info = search_info(found, ["fine"])
    assert [point["cv_error"] for point in info["search"]] == [0.5, None]
    assert json.loads(json.dumps(info, allow_nan=False)) == info


def test_penalties_at_the_edge_are_told() -> None:
    readout = taught(BandedRidge(alphas=(1e-6, 1e-5)), stream())
    assert any("edge of its range" in warning for warning in readout.info["warnings"])


def test_a_grid_of_one_penalty_has_no_edge() -> None:
    assert "warnings" not in taught(BandedRidge(alphas=(1.0,)), stream()).info


def test_one_layer_is_skipped_unless_position_terms_are_a_second() -> None:
    assert "this is ridge" in str(BandedRidge().skip(LAYERS[:1]))
    assert BandedRidge(position=True).skip(LAYERS[:1]) is None
    assert BandedRidge().skip(LAYERS) is None
    assert set(taught(BandedRidge(position=True), stream(), LAYERS[:1]).info["layer_alphas"]) == {"fine", "position"}


def test_labels_and_mistakes() -> None:
    assert BandedRidge(position=True, target="standardised").label == "banded-ridge-standardised-position"
    with pytest.raises(ValueError, match="steps must be positive"):
        BandedRidge(steps=0)
