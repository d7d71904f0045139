"""From a run's cells to intervals, shares and pairs: in memory, on disk, in MLflow's points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness._probe import Context, Probe, Trainer
from harness.cells import NO_BACKBONE, Cell
from harness.environment import describe_environment
from harness.errors import RecipeError, ResultsError
from harness.metric_registry import METRICS
from harness.per_image import PerImage
from harness.recipe import load_recipe, parse_recipe
from harness.results import CellResult, ResultsFolder, RunRecord, read_cells, read_pairs
from harness.statistics import bootstrap_interval, seed_from, share_of_range
from harness.tracking.record import points
from harness.uncertainty import Uncertainty


@dataclass(frozen=True)
class Plain(Probe):
    def trainer(self, context: Context) -> Trainer:
        raise NotImplementedError


@dataclass(frozen=True)
class Floor(Plain):
    bound = "floor"


@dataclass(frozen=True)
class Ceiling(Plain):
    bound = "ceiling"


def result(key: str, probe: Probe, cc: np.ndarray, kld: np.ndarray) -> CellResult:
    cell = Cell("demo", NO_BACKBONE, NO_BACKBONE, NO_BACKBONE, (), key, probe, 0)
    pairs = enumerate(zip(cc, kld, strict=True), start=7)
    rows = [{"image_id": i, "cc": a, "kld": b, "unscored": None} for i, (a, b) in pairs]
    means = {"cc": float(np.nanmean(cc)), "kld": float(np.nanmean(kld))}
    return CellResult(cell, key, {}, "finished", metrics=means, n_images=len(rows), per_image=PerImage.of_rows(rows))


@pytest.fixture
def ended() -> list[CellResult]:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 0.1, 50)

    def around(mean: float) -> np.ndarray:
        return mean + difficulty + rng.normal(0, 0.02, 50)

    return [
        result("cell", Plain(), around(0.7), around(0.8)),
        result("floor", Floor(), around(0.4), around(1.2)),
        result("ceiling", Ceiling(), around(0.9), around(1.5)),  # better than the floor in cc, worse in kld
        result("floor2", Floor(), around(0.1), around(3.0)),
    ]


def uncertainty() -> Uncertainty:
    return Uncertainty([METRICS.get("cc"), METRICS.get("kld")], "digest")


def column(cell: CellResult, metric: str = "cc") -> np.ndarray:
    return cell.per_image.column(metric)


def test_every_cell_gets_its_intervals_from_its_key(ended: list[CellResult]) -> None:
    uncertainty().add(ended)
    for cell in ended:
        for metric in ("cc", "kld"):
            low, high = cell.intervals[metric]
            assert low < cell.metrics[metric] < high
            alone = bootstrap_interval(column(cell, metric), seed_from(cell.key, "images"))
            np.testing.assert_allclose((low, high), alone, atol=1e-14)


def test_shares_are_of_the_first_floor_and_only_where_the_ceiling_is_better(ended: list[CellResult]) -> None:
    uncertainty().add(ended)
    cell, floor, ceiling, second = ended
    expected = share_of_range(*map(column, (cell, floor, ceiling)), seed_from("cell", "images"))
    assert cell.shares == {"cc": expected}
    assert floor.shares == {"cc": (0, 0, 0)}
    assert ceiling.shares == {"cc": (1, 1, 1)}
    assert second.shares["cc"][0] < 0


def test_later_groups_are_measured_by_the_bounds_of_the_first(ended: list[CellResult]) -> None:
    uncertainty().add(ended)
    together = ended[0].shares
    separately = uncertainty()
    separately.add(ended[1:])
    separately.add(ended[:1])
    assert ended[0].shares == together


@pytest.mark.parametrize("bounds", [[], [1], [2]])
def test_no_shares_without_both_bounds(ended: list[CellResult], bounds: list[int]) -> None:
    uncertainty().add([ended[0], *[ended[i] for i in bounds]])
    assert ended[0].shares == {}
    assert ended[0].intervals


def test_images_are_matched_by_id_not_by_place(ended: list[CellResult]) -> None:
    uncertainty().add(ended)
    expected = ended[0].shares["cc"]
    ended[1].per_image = PerImage.of_rows(list(ended[1].per_image)[::-1])
    uncertainty().add(ended)
    assert ended[0].shares["cc"] == expected
    ended[2].per_image = PerImage.of_rows(list(ended[2].per_image)[5:])
    uncertainty().add(ended)
    fewer = [column(cell) for cell in ended[:3]]
    fewer = [fewer[0][5:], fewer[1][::-1][5:], fewer[2]]
    assert ended[0].shares["cc"] == share_of_range(*fewer, seed_from("cell", "images"))


def test_what_did_not_finish_has_no_uncertainty(ended: list[CellResult]) -> None:
    cell = ended[0].cell
    failed = CellResult(cell, "bad", {}, "failed", "out of memory")
    told = uncertainty()
    told.add([failed, *ended])
    assert (failed.intervals, failed.shares) == ({}, {})
    assert "bad" not in set(told.pairs("cc").cell_a)


def test_a_metric_without_scores_has_no_interval(ended: list[CellResult]) -> None:
    ended[0].per_image = PerImage.of_rows({**row, "kld": np.nan} for row in ended[0].per_image)
    uncertainty().add(ended)
    assert set(ended[0].intervals) == {"cc"}


def test_pairs_of_nothing() -> None:
    assert len(uncertainty().pairs("cc")) == 0


def test_tables_on_disk(ended: list[CellResult], tmp_path: Path) -> None:
    told, results = uncertainty(), ResultsFolder(tmp_path)
    told.add(ended)
    for cell in ended:
        results.add(cell)
    results.flush()
    results.write_pairs(told.pairs("cc"))
    cells = read_cells(tmp_path)
    places = [list(cells.columns).index(name) for name in ("kld", "cc_ci_low", "kld_ci_high", "share_cc", "n_images")]
    assert places == sorted(places)
    assert cells.cc_ci_high[0] == ended[0].intervals["cc"][1]
    assert tuple(cells.loc[0, ["share_cc", "share_cc_ci_low", "share_cc_ci_high"]]) == ended[0].shares["cc"]
    pairs = read_pairs(tmp_path)
    pd.testing.assert_frame_equal(pairs, told.pairs("cc"), check_dtype=False)
    assert len(pairs) == 6
    assert set(pairs.label_a) == {"cell", "floor", "ceiling"}


def test_a_folder_without_pairs(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"pairs\.parquet"):
        read_pairs(tmp_path)


def recipe(**changes: object) -> dict[str, object]:
    return {"name": "r", "dataset": "demo", "probes": ["centre"], **changes}


def test_mlflow_gets_intervals_and_the_share_of_the_compared_metric(ended: list[CellResult], tmp_path: Path) -> None:
    uncertainty().add(ended)
    record = RunRecord(parse_recipe(recipe(metrics=["kld", "cc"])), tmp_path, "m", {}, describe_environment())
    found = {name: value for name, value, _ in points(record, ended[0])[0]}
    (low, high), share = ended[0].intervals["cc"], ended[0].shares["cc"][0]
    assert (found["cc_ci_low"], found["cc_ci_high"], found["share_cc"]) == (low, high, share)
    assert (found["kld_ci_low"], found["kld_ci_high"]) == ended[0].intervals["kld"]
    assert not any(name.startswith(("share_kld", "share_cc_")) for name in found)


def test_the_compared_metric_is_one_of_the_recipes() -> None:
    assert parse_recipe(recipe()).compare == "cc"
    assert parse_recipe(recipe(metrics=["nss", "auc"])).compare == "nss"
    assert parse_recipe(recipe(metrics=["nss", "auc"], compare="auc")).compare == "auc"
    assert load_recipe("quickstart", ["compare=nss"]).compare == "nss"
    with pytest.raises(RecipeError, match=r"compare: .*is not one of the recipe's metrics \(nss, auc\), got 'cc'"):
        parse_recipe(recipe(metrics=["nss", "auc"], compare="cc"))
    with pytest.raises(RecipeError) as refused:
        parse_recipe(recipe(metrics=[]))
    assert "compare" not in str(refused.value)
