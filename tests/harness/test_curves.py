from __future__ import annotations

import math
from typing import Any

import pytest

from harness.curves import curve


def test_numbers_and_gaps_are_a_curve() -> None:
    found = curve({"x": [1, None, 2.5]}, "x")
    assert found[::2] == [1.0, 2.5]
    assert math.isnan(found[1])


@pytest.mark.parametrize("value", [None, 3.0, "abc", {"a": 1}, ["a"], [[1]], [True]])
def test_anything_else_is_none(value: Any) -> None:
    assert curve({"x": value}, "x") == []
    assert curve({}, "x") == []
