"""When a head trained by gradient descent is said not to have converged."""

from __future__ import annotations

import pytest

from harness.heads import LinearHead, Running
from probes._gradient import GradientSettings, training_info, unconverged


@pytest.mark.parametrize(
    ("epoch_loss", "first_step", "said"),
    [
        ([3.0, 2.0, 1.5], 5.0, "in the last of 3 epochs the loss still fell by 14% of all its fall"),
        ([3.0, 1.51, 1.5], 5.0, ""),  # 0.3 % of its fall
        ([6.01, 6.004, 6.0], 6.02, ""),  # nothing to learn: changes of 0.1 % of a loss that stands
        ([3.0, 1.5, 1.7], 5.0, "still rose"),
        ([2.0], 5.0, "single epoch"),
    ],
)
def test_unconverged(epoch_loss: list[float], first_step: float, said: str) -> None:
    words = unconverged(epoch_loss, first_step)
    assert bool(words) == bool(said)
    assert said in words


def test_a_constant_added_to_the_loss_changes_nothing() -> None:
    """As in the likelihood of fixations, whose loss has the logarithm of the number of positions in it."""
    assert unconverged([0.9, 0.5, 0.4], 1.0) == unconverged([5.9, 5.5, 5.4], 6.0)


def test_the_readouts_account_has_the_flag() -> None:
    run = Running(LinearHead(()), GradientSettings(epochs=2).training())
    run.epoch_loss, run.step_loss = [3.0, 1.5], [5.0, 3.0, 2.0, 1.5]
    info = training_info(run)
    assert info["flags"] == ["unconverged"]
    assert "raise epochs" in info["warnings"][0]
    run.epoch_loss = [1.501, 1.5]
    assert "flags" not in training_info(run)
