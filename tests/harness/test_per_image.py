"""Per-image scores: columns that grow, merge and go to disk in pieces, the same as plain rows."""

from __future__ import annotations

import math
import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness._probe import Context, Probe, Trainer
from harness.cells import NO_BACKBONE, Cell
from harness.ended_cells import EndedCells, supersede_all
from harness.metric_registry import METRICS
from harness.per_image import PerImage
from harness.results import CellResult, ResultsFolder, read_per_image

scores = st.one_of(st.floats(-5, 5), st.just(math.nan))
rows = st.dictionaries(st.integers(0, 10**6), st.tuples(scores, scores), max_size=30)


class Nothing(Probe):
    def trainer(self, context: Context) -> Trainer:
        raise NotImplementedError


def made(found: dict[int, tuple[float, float]], ids: list[int]) -> PerImage:
    per_image = PerImage()
    for start in range(0, len(ids), 4):  # in batches
        part = ids[start : start + 4]
        columns = {"cc": [found[i][0] for i in part], "nss": [found[i][1] for i in part]}
        reasons = [
            "; ".join(f"{m}: why" for m, x in zip(columns, found[i], strict=True) if math.isnan(x)) for i in part
        ]
        per_image.append(part, columns, reasons)
    return per_image


@given(rows, st.integers(1, 4), st.randoms(use_true_random=False))
def test_parts_of_several_processes_merge_to_what_one_has(found: dict, processes: int, random: object) -> None:
    ids = list(found)
    parts = [made(found, ids[rank::processes]) for rank in range(processes)]
    merged, alone = parts[0].merged(parts[1:], ids), made(found, ids)
    assert str(list(merged)) == str(list(alone))  # nan equals nan here
    assert merged.unscored == alone.unscored
    assert merged.reasons() == alone.reasons()
    assert str(list(PerImage.of_rows(alone))) == str(list(alone))


@given(rows)
def test_columns_means_and_single_images(found: dict[int, tuple[float, float]]) -> None:
    per_image = made(found, list(found))
    assert len(per_image) == len(found)
    assert per_image.ids.tolist() == list(found)
    kept = [cc for cc, _ in found.values() if not math.isnan(cc)]
    if found:
        np.testing.assert_array_equal(per_image.column("cc"), [cc for cc, _ in found.values()])
        assert per_image.mean("cc") == (pytest.approx(np.mean(kept)) if kept else pytest.approx(math.nan, nan_ok=True))
        last = list(found)[-1]
        assert str(per_image.score_of(last)) == str(dict(zip(("cc", "nss"), found[last], strict=True)))
    with pytest.raises(KeyError):
        per_image.score_of(-1)


def result(key: str, per_image: PerImage) -> CellResult:
    cell = Cell("demo", NO_BACKBONE, NO_BACKBONE, NO_BACKBONE, (), key, Nothing(), 0)
    return CellResult(cell, key, {}, "finished", per_image=per_image)


def end(folder: ResultsFolder, key: str, per_image: PerImage) -> None:
    """A cell that has ended, as a run writes it."""
    ended = result(key, per_image)
    folder.open_cell(ended, network=None)
    folder.close_cell(ended)
    folder.add(ended)


def test_fifty_thousand_rows_pass_through_little_memory(tmp_path: Path) -> None:
    """100 cells of 500 images in 10 groups: what is written is not kept."""
    rng = np.random.default_rng(0)
    folder = ResultsFolder(tmp_path)
    tracemalloc.start()
    for group in range(10):
        for k in range(10):
            per_image = PerImage()
            per_image.append(list(range(500)), {m: rng.normal(size=500).tolist() for m in "abcdefgh"}, [""] * 500)
            end(folder, f"{group:02d}-{k}", per_image)
        folder.flush()
        if group == 4:
            half = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - half
    tracemalloc.stop()
    assert grown < 1e6  # its 25,000 rows alone would be 1.8 MB
    found = read_per_image(tmp_path)
    assert len(found) == 50_000
    assert found.cell_key.drop_duplicates().tolist() == [f"{g:02d}-{k}" for g in range(10) for k in range(10)]
    assert pq.ParquetFile(tmp_path / "per_image.parquet").num_row_groups == 100
    assert not list(tmp_path.rglob(".*"))
    assert len(pickle.dumps(per_image)) < 500 * 9 * 9


def test_types_do_not_depend_on_what_the_first_cell_lacks(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    end(folder, "a", made({1: (0.5, 1.0)}, [1]))
    folder.flush()
    end(folder, "b", made({1: (math.nan, 1.0), 2: (0.1, math.nan)}, [1, 2]))
    folder.flush()
    found = read_per_image(tmp_path)
    assert found.dtypes[["image_id", "cc", "nss"]].astype(str).tolist() == ["int64", "float64", "float64"]
    assert found.unscored.tolist()[1:] == ["cc: why", "nss: why"]
    assert pd.isna(found.unscored[0])
    on_disk = pq.read_table(tmp_path / "per_image.parquet")
    assert [on_disk.column(name).null_count for name in ("cc", "nss", "unscored")] == [1, 1, 1]
    ResultsFolder(tmp_path).flush()  # the tables hold the cells of the present run
    assert len(read_per_image(tmp_path)) == 0


def test_an_interrupted_write_leaves_the_earlier_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ResultsFolder(tmp_path)
    end(folder, "a", made({1: (0.5, 1.0)}, [1]))
    folder.flush()
    end(folder, "b", made({1: (0.5, 1.0)}, [1]))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        folder.flush()
    assert read_per_image(tmp_path).cell_key.tolist() == ["a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells", "cells.parquet", "per_image.parquet"]


def test_a_cell_whose_last_file_is_missing_has_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the first time nor when it is written again."""
    folder, scores = ResultsFolder(tmp_path), made({1: (0.5, 1.0)}, [1])
    end(folder, "a", scores)
    end(folder, "b", scores)
    assert EndedCells(tmp_path).keys == {"a", "b"}

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", stop)
    for key in ("b", "c"):
        with pytest.raises(KeyboardInterrupt):
            end(folder, key, scores)
        assert (tmp_path / "cells" / key / "cell.json").exists()
    assert EndedCells(tmp_path).keys == {"a"}


def test_a_finished_cell_is_read_back_as_it_was(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    scores = made({3: (0.1, 1.0), 1: (0.2, math.nan), 2: (1 / 3, 2.0)}, [3, 1, 2])
    before = result("a", scores)
    before.metrics = {metric: scores.mean(metric) for metric in ("cc", "nss")}
    before.n_images, before.n_unscored, before.n_constant = 3, 1, 2
    before.unscored, before.seconds, before.info = dict(scores.reasons()), {"fit": 0.1}, {"warnings": ["odd"]}
    folder.open_cell(before, network=None)
    folder.close_cell(before)
    metrics = [METRICS.get("cc"), METRICS.get("nss")]
    after = EndedCells(tmp_path).reopen("a", before.cell, before.identity, metrics)
    assert after is not None
    assert after.row() == before.row()
    assert str(list(after.per_image)) == str(list(scores))
    supersede_all(tmp_path)
    assert EndedCells(tmp_path).reopen("a", before.cell, {}, metrics) is None
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "cells/a/per_image.parquet").write_bytes(b"PAR1, but not for long")
    assert EndedCells(tmp_path).reopen("a", before.cell, {}, metrics) is None


def test_it_travels_small_also_where_no_image_has_a_score() -> None:
    ids = list(range(5000))
    found = made(dict.fromkeys(ids, (math.nan, math.nan)), ids)
    assert len(pickle.dumps(found)) < 5000 * (3 * 8 + 12)
