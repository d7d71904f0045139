from __future__ import annotations

import torch

from harness.metrics import FixationCounts, auc, auc_map, cc, constant, kld, mse, nss, sim, why_unscored
from tests.harness.metrics.scenes import Scene, scene

WITH_FIXATIONS = {"nss": nss, "auc": auc}
WITH_DENSITY = {"cc": cc, "sim": sim, "kld": kld, "auc_map": auc_map, "mse": mse}


def troubled() -> Scene:
    """Images: a good one, a NaN, a constant prediction, no fixation and so an empty density."""
    s = scene(batch=4)
    s.maps[1, 0, 0] = torch.nan
    s.maps[2] = 0.3
    s.fixations[3] = 0
    s.density[3] = 0
    return s


def test_reasons() -> None:
    s = troubled()
    bad, flat, unseen, empty = (
        "NaN or infinity in the prediction",
        "constant prediction",
        "no fixations",
        "constant ground truth",
    )
    expected = {
        "auc": [None, bad, None, unseen],
        "nss": [None, bad, None, unseen],
        "cc": [None, bad, None, empty],
        "sim": [None, bad, flat, empty],
        "kld": [None, bad, None, None],
        "auc_map": [None, bad, None, empty],
        "mse": [None, bad, None, empty],
    }
    for name, words in expected.items():
        assert why_unscored(name, s.maps, FixationCounts(s.fixations), s.density) == words, name


def test_there_is_a_reason_exactly_where_there_is_no_score() -> None:
    s = troubled()
    for metrics, truth in ((WITH_FIXATIONS, s.fixations), (WITH_DENSITY, s.density)):
        for name, metric in metrics.items():
            reasons = why_unscored(name, s.maps, s.fixations, s.density)
            assert metric(s.maps, truth).isnan().tolist() == [reason is not None for reason in reasons], name


def test_constant_predictions_can_be_counted() -> None:
    assert constant(troubled().maps).tolist() == [False, False, True, False]
