from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.errors import MetricInputError
from harness.metrics import Density, FixationCounts, auc, auc_borji, auc_judd, auc_map, cc, ig, kld, mse, nss, sauc, sim
from tests.harness.metrics.scenes import scene

S = scene()
WITH_DENSITY = [cc, sim, kld, auc_map, mse]
WITH_FIXATIONS = [
    nss,
    auc,
    auc_judd,
    lambda p, f: sauc(p, f, S.others),
    lambda p, f: sauc(p, S.fixations, f),
    lambda p, f: ig(p, f, S.density.log()),
    lambda p, f: auc_borji(p, f, generator=torch.Generator()),
]


@pytest.mark.parametrize("metric", WITH_DENSITY)
def test_a_wrapped_density_scores_like_its_tensor(metric) -> None:
    assert torch.equal(metric(S.maps, Density(S.density)), metric(S.maps, S.density))


@pytest.mark.parametrize("metric", WITH_FIXATIONS)
def test_wrapped_counts_of_any_integer_type_score_like_their_tensor(metric) -> None:
    expected = metric(S.maps, S.fixations)
    for dtype in (torch.uint8, torch.int16, torch.int64):
        assert torch.equal(metric(S.maps, FixationCounts(S.fixations.to(dtype))), expected)


@pytest.mark.parametrize("metric", WITH_DENSITY)
@pytest.mark.parametrize("counts", [FixationCounts(S.fixations), S.fixations])
def test_counts_where_a_density_belongs_are_refused(metric, counts) -> None:
    with pytest.raises(MetricInputError, match="density must be a density"):
        metric(S.maps, counts)


@pytest.mark.parametrize("metric", WITH_FIXATIONS)
@pytest.mark.parametrize("density", [Density(S.density), S.density, S.fixations > 0, S.fixations.double()])
def test_anything_but_counts_where_fixations_belong_is_refused(metric, density) -> None:
    with pytest.raises(MetricInputError, match="fixations must be integer counts per pixel"):
        metric(S.maps, density)


@pytest.mark.parametrize("metric", WITH_FIXATIONS)
def test_negative_counts_are_refused(metric) -> None:
    with pytest.raises(MetricInputError, match=r"fixations hold negative counts \(the smallest is -3\)"):
        metric(S.maps, torch.where(S.fixations > 0, -3, 0))


@pytest.mark.parametrize("metric", WITH_DENSITY)
def test_a_density_of_another_size_is_refused_with_both_shapes(metric) -> None:
    with pytest.raises(MetricInputError, match=r"prediction is \(3, 24, 32\) but density is \(3, 12, 32\)"):
        metric(S.maps, S.density[:, ::2])


@pytest.mark.parametrize("metric", WITH_FIXATIONS)
def test_fixations_of_another_batch_are_refused_with_both_shapes(metric) -> None:
    with pytest.raises(MetricInputError, match=r"is \(3, 24, 32\) but (non)?fixations is \(1, 24, 32\)"):
        metric(S.maps, S.fixations[:1])


def test_the_refusal_names_the_argument() -> None:
    with pytest.raises(MetricInputError, match="nonfixations must be integer counts"):
        sauc(S.maps, S.fixations, S.others.float())
    with pytest.raises(MetricInputError, match="baseline_log_density is"):
        ig(S.maps, S.fixations, S.density[:, 1:])
    with pytest.raises(MetricInputError, match="log_density must be floating point"):
        ig(S.fixations, S.fixations, S.density)


@pytest.mark.parametrize(
    ("prediction", "words"),
    [
        (S.maps[0], "add the batch axis"),
        (S.maps[None], r"must be \(batch, height, width\)"),
        (S.maps[:, :0], "has no pixels"),
        (S.fixations, "must be floating point"),
        (np.zeros((1, 4, 4)), "not ndarray"),
        (Density(S.density), "not Density"),
    ],
)
def test_a_prediction_that_is_none_is_refused(prediction, words: str) -> None:
    for call in (lambda: cc(prediction, S.density), lambda: auc(prediction, S.fixations)):
        with pytest.raises(MetricInputError, match=words):
            call()


def test_half_precision_and_gradients_are_accepted() -> None:
    half = S.maps.half()
    assert torch.equal(auc(half, S.fixations), auc(half.float(), S.fixations))
    assert not cc(S.maps.clone().requires_grad_(), S.density).requires_grad


@pytest.mark.parametrize("metric", WITH_DENSITY)
def test_inputs_are_left_as_they_were(metric) -> None:
    maps, density = S.maps.clone(), S.density.clone()
    metric(maps, density)
    assert torch.equal(maps, S.maps)
    assert torch.equal(density, S.density)


def test_an_empty_batch_scores_nothing() -> None:
    none = scene(batch=0)
    for value in (
        cc(none.maps, none.density),
        auc(none.maps, none.fixations),
        nss(none.maps, none.fixations),
        sauc(none.maps, none.fixations, none.others),
    ):
        assert value.shape == (0,)
        assert value.dtype == torch.float64


@pytest.mark.parametrize("metric", WITH_DENSITY)
def test_a_density_object_is_prepared_once_and_scores_the_same(metric) -> None:
    random = torch.Generator().manual_seed(0)
    values, maps = torch.rand(3, 12, 16, generator=random), torch.rand(2, 3, 12, 16, generator=random)
    density = Density(values.clone())
    for prediction in maps:
        assert torch.equal(metric(prediction, density), metric(prediction, values))
        assert torch.equal(metric(prediction.double(), density), metric(prediction.double(), values))
    assert len(density._forms) == 1
    assert torch.equal(density.values, values)
