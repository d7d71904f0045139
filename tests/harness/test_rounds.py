"""Means over rounds, and the reasons where there is none."""

from __future__ import annotations

import math

import pytest

from harness.rounds import Tally


def same(metric: str, score: float) -> float | str:
    return score


def test_the_mean_over_those_rounds_that_have_a_score() -> None:
    tally = Tally(["cc", "ig"])
    tally.add([1, 2, 3], {"cc": [0.1, 0.2, math.nan], "ig": [math.nan] * 3}, [{"ig": "no density"}] * 2 + [{}])
    tally.add([2, 3], {"cc": [0.4, math.nan], "ig": [1.0, math.nan]}, [{}, {"cc": "constant", "ig": "no density"}])
    columns, reasons = tally.result([1, 2, 3, 4], same, "no map")
    assert columns["cc"][:2] == pytest.approx([0.1, 0.3])
    assert columns["ig"][1] == 1
    assert all(math.isnan(x) for x in [*columns["cc"][2:], columns["ig"][0], *columns["ig"][2:]])
    assert reasons == ["ig: no density", "", "cc: constant; ig: no density", "cc: no map; ig: no map"]


def test_one_round_is_left_as_it_is() -> None:
    tally = Tally(["cc"])
    tally.add([7], {"cc": [0.1 + 0.2]}, [{}])
    assert tally.result([7], same, "")[0] == {"cc": [0.1 + 0.2]}
