"""The three ceilings against plain loops, with images of one, two and more people, equal and unequal halves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import Context
from harness._plugin import as_entry
from harness.data.dataset import Dataset
from harness.density import blur, sigma_for
from harness.evaluation import Scores, evaluate
from harness.metric_registry import METRICS
from harness.metrics import auc, cc, nss
from harness.progress import Silent
from harness.readout_files import load_readout, save_readout
from harness.stream import Stream, StreamSettings
from harness.types import Points
from probes.observers import Observers, ObserversReadout, SpearmanBrownReadout, split_half

CPU, SIZES = torch.device("cpu"), ((48, 64), (40, 30))
PEOPLE = (1, 2, 3, 4, 7, 6)
"""Of each image; 2, 4 and 6 have equal halves."""
SEED = 5
CHOSEN = [METRICS.get(name) for name in ("cc", "nss", "auc")]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Each person has his own number of points, and not the same persons look at every image."""
    rng, rows, ends = np.random.default_rng(0), [], [0]
    for image, people in enumerate(PEOPLE):
        height, width = SIZES[image % 2]
        for person in sorted(rng.permutation(9)[:people]):
            n = rng.integers(2, 9)
            rows += zip(rng.integers(0, height, n), rng.integers(0, width, n), [person] * n, strict=True)
        ends.append(len(rows))
    row, col, observer = np.array(rows, np.int32).T
    return Dataset(
        name="made",
        split="test",
        edition="custom",
        points_kind="eye",
        ids=np.arange(1, len(PEOPLE) + 1),
        files=tuple(Path(f"{i}.png") for i in range(len(PEOPLE))),
        height=np.array([SIZES[i % 2][0] for i in range(len(PEOPLE))], np.int32),
        width=np.array([SIZES[i % 2][1] for i in range(len(PEOPLE))], np.int32),
        offset=np.array(ends),
        row=row,
        col=col,
        observer=observer,
    )


def scored(dataset: Dataset, method: str, batch_size: int = 4) -> Scores:
    context = Context((), n_images=4, n_folds=2, seed=SEED, device=CPU, _shared={})
    readout = Observers(method=method).trainer(context).readout()  # type: ignore[arg-type]
    settings = StreamSettings(batch_size=batch_size)
    return evaluate({"": readout}, Stream(dataset, settings, CPU), CHOSEN, Silent(), keep_maps=True)[""]


def plain(predicting: Points, predicted: Points, size: tuple[int, int]) -> list[float]:
    """cc, nss and auc of one group's blurred points against another group's."""
    sigma = sigma_for(size[0])
    map_, truth = (blur(p.counts(size)[None].float(), sigma) for p in (predicting, predicted))
    fixations = predicted.counts(size)[None]
    return [cc(map_, truth).item(), nss(map_, fixations).item(), auc(map_, fixations).item()]


def rows_of(scores: Scores) -> dict[int, list[float]]:
    found = {row["image_id"]: [row[metric.name] for metric in CHOSEN] for row in scores.per_image}
    assert sorted(found) == list(range(1, len(PEOPLE) + 1))
    return found


@pytest.mark.parametrize("batch_size", [1, 4])
def test_split_half_is_one_half_against_the_other(dataset: Dataset, batch_size: int) -> None:
    found = rows_of(scored(dataset, "split-half", batch_size))
    for index, people in enumerate(PEOPLE):
        if people > 1:
            halves = split_half(dataset.points(index), index + 1, SEED)
            assert [len(np.unique(half.observer)) for half in halves] == [people // 2, people - people // 2]
            assert found[index + 1] == pytest.approx(plain(*halves, dataset.size(index)), abs=2e-4)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_leave_one_out_is_the_mean_over_everybody_predicted_by_the_others(dataset: Dataset, batch_size: int) -> None:
    scores = scored(dataset, "leave-one-out", batch_size)
    found = rows_of(scores)
    for index, people in enumerate(PEOPLE):
        points, each = dataset.points(index), []
        for person in set(points.observer.tolist()):
            mine = points.observer == person
            parts = [Points(points.row[m], points.col[m], points.observer[m]) for m in (~mine, mine)]
            if len(parts[0]):
                each.append(plain(*parts, dataset.size(index)))
        assert len(each) == (people if people > 1 else 0)
        if each:
            assert found[index + 1] == pytest.approx(np.mean(each, axis=0).tolist(), abs=2e-4)
    assert [id_ in scores.maps for id_ in range(1, 7)] == [False, *[True] * 5]  # pictures show one map an image


def test_spearman_brown_corrects_each_image_s_correlation_and_nothing_else(dataset: Dataset) -> None:
    halves, scores = rows_of(scored(dataset, "split-half")), scored(dataset, "spearman-brown")
    found = rows_of(scores)
    for id_ in range(2, 7):
        r = halves[id_][0]
        assert found[id_][0] == pytest.approx(2 * r / (1 + r) if r >= 0 else -2 * -r / (1 - r), rel=1e-6)
        assert np.isnan(found[id_][1:]).all()
        why = "Spearman-Brown corrects a correlation only"
        assert scores.per_image.unscored[id_] == f"nss: {why}; auc: {why}"
    readout = SpearmanBrownReadout(SEED)
    assert [readout.corrected("cc", r) for r in (-1, -0.5, 0, 0.5, 1)] == pytest.approx([-1, -2 / 3, 0, 2 / 3, 1])
    means = scores.means(CHOSEN)
    assert means["cc"] == pytest.approx(np.mean([found[id_][0] for id_ in range(2, 7)]))
    assert math.isnan(means["nss"])


@pytest.mark.parametrize("method", ["split-half", "leave-one-out", "spearman-brown"])
def test_a_single_person_agrees_with_nobody(dataset: Dataset, method: str) -> None:
    scores = scored(dataset, method)
    assert np.isnan(rows_of(scores)[1]).all()
    few = "fewer than two observers"
    assert scores.per_image.unscored[1] == f"cc: {few}; nss: {few}; auc: {few}"
    alone = scored(dataset.take([0]), method)
    assert len(alone.per_image) == 1
    assert math.isnan(alone.means(CHOSEN)["cc"])


@pytest.mark.parametrize("method", ["split-half", "leave-one-out", "spearman-brown"])
def test_saved_and_loaded(method: str, tmp_path: Path) -> None:
    context = Context((), n_images=4, n_folds=2, seed=SEED, device=CPU, _shared={})
    made = Observers(method=method).trainer(context).readout()  # type: ignore[arg-type]
    save_readout(made, tmp_path)
    loaded = load_readout(tmp_path)
    assert (type(loaded), loaded.state()) == (type(made), made.state())


def test_a_ceiling_s_map_has_no_scale(dataset: Dataset) -> None:
    """What turns maps into densities is fitted on other images, which may have many times as many points."""
    batch = next(Stream(dataset.take([3]), StreamSettings(), CPU).batches())
    scaled = Observers().trainer(Context((), 4, 2, SEED, CPU, {})).readout()(batch)
    counted = ObserversReadout(SEED, scaled=False)(batch)  # as earlier results have it
    assert scaled.mean().item() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(counted / counted.mean(), scaled)
    assert counted.sum().item() == pytest.approx(len(split_half(batch.points[0], batch.ids[0], SEED)[0]), rel=1e-4)


def test_each_is_named_for_what_it_is_and_the_usual_one_keeps_its_key() -> None:
    usual, *others = (Observers(method=m) for m in ("split-half", "leave-one-out", "spearman-brown"))  # type: ignore[arg-type]
    assert [probe.label for probe in (usual, *others)] == [
        "observers", "observers-leave-one-out", "observers-spearman-brown",
    ]  # fmt: skip
    assert as_entry(usual) == {"name": "observers"}
    assert [as_entry(probe)["method"] for probe in others] == ["leave-one-out", "spearman-brown"]
