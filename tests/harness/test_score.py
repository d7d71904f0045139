"""Outside maps and the project's own cells go through one evaluation: the same maps get the same numbers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from harness.album import Album
from harness.errors import DataError, RecipeError, ResultsError
from harness.export import export_cell, select_cell
from harness.finished_run import read_run
from harness.plan import Plan, make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import CellResult, read_cells, read_per_image
from harness.run import run
from harness.score import NO_MAP, Scoring, label_for
from harness.small_maps import SmallMaps

TINY: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"reader": "demo", "train": 10, "test": 5, "height": 96, "width": 128},
    "backbones": [{"name": "resnet50", "weights": "random"}],
    "layers": ["layer1", ["layer1", "layer2"]],
    "probes": ["ridge", {"name": "sgd", "loss": "kl", "epochs": 2, "layers": ["layer1"]}, "centre", "observers"],
    "metrics": ["cc", "sim", "kld", "nss", "auc", "auc_judd", "sauc"],
    "grid": 16,
    "folds": 2,
    "workers": 0,
    "batch_size": 3,
    "pictures": 0,
}
METRICS = TINY["metrics"]
Export = Callable[..., Path]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_plan(parse_recipe(TINY)), tmp_path_factory.mktemp("run"), Silent()).folder


@pytest.fixture(scope="module")
def export(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A copy of the folder of a cell's maps in some format."""

    @lru_cache
    def once(cell: str, format: str) -> Path:
        out = tmp_path_factory.mktemp("export") / "maps"
        export_cell(finished, cell, format, out, Silent())
        return out

    def go(cell: str = "layer1+layer2 ridge", format: str = "npy") -> Path:
        return Path(shutil.copytree(once(cell, format), tmp_path_factory.mktemp("copy") / "maps"))

    return go


def tiny(**changes: Any) -> Plan:
    return make_plan(parse_recipe({**TINY, **changes}))


def score(predictions: Path, out: Path, plan: Plan | None = None, **how: Any) -> tuple[CellResult, Path]:
    return Scoring(predictions, plan or tiny(), "mine", **how).run(out, Silent())


@pytest.mark.parametrize("cell", ["layer1+layer2 ridge", "sgd-kl", "centre"])
@pytest.mark.parametrize("format", ["npy", "npz", "tiff"])
def test_run_and_score_agree_to_the_last_digit(
    cell: str, format: str, finished: Path, export: Export, tmp_path: Path
) -> None:
    _, folder = score(export(cell, format), tmp_path)
    key = select_cell(read_cells(finished).to_dict("records"), cell)["cell_key"]
    for table, columns in ((read_per_image, ["image_id", *METRICS]), (read_cells, METRICS)):
        of_run, of_score = table(finished), table(folder)[columns]
        of_run = of_run.loc[of_run.cell_key == key, columns].reset_index(drop=True)
        assert of_run.notna().all(axis=None)
        pd.testing.assert_frame_equal(of_run, of_score, check_exact=True)


def test_the_result_has_the_form_of_a_run_s(finished: Path, export: Export, tmp_path: Path) -> None:
    result, folder = score(export(), tmp_path)
    cells = read_cells(folder)
    row = cells.iloc[0]
    own = {name for name in cells.columns if not name.startswith("time_") and "_ci_" not in name}
    assert own <= set(read_cells(finished).columns)
    assert list(read_per_image(folder).columns) == list(read_per_image(finished).columns)
    assert [row[name] for name in ("backbone", "weights", "layers", "probe")] == ["none", "none", "none", "mine"]
    assert (row.cell_key, row.status, row.n_images, row.n_unscored) == (result.key, "finished", 5, 0)
    assert row.cc_ci_low < row.cc < row.cc_ci_high
    assert folder == tmp_path / "mine"
    record = json.loads((folder / "score.json").read_text())
    assert record["identity"]["maps"]["images"] == 5


def test_a_report_finds_what_a_run_leaves(export: Export, tmp_path: Path) -> None:
    """Small maps, pictures, kept stimuli; the folder reads back like a run's, and can be scored into again."""
    plan = tiny(pictures=2, compare="nss", metrics=["cc", "nss", "ig"])
    for _ in range(2):
        result, folder = Scoring(export(), plan, "männer & maps").run(tmp_path, Silent())
    back = read_run(folder)
    (found,) = back.results
    assert (found.key, found.label, found.folder) == (result.key, "männer & maps", folder / "cells" / result.key)
    assert found.metrics == pytest.approx(result.metrics)
    assert (back.record.recipe.compare, back.record.recipe.metrics) == ("nss", ["cc", "nss"])
    assert back.record.dataset["test"]["images"] == 5
    assert "train" not in back.record.dataset
    assert {file.name for file in found.folder.iterdir()} == {
        "cell.json", "result.json", "per_image.parquet", "maps.npz", "contact_sheet.jpg", "best_and_worst.jpg",
    }  # fmt: skip
    album = Album(folder)
    maps = SmallMaps.load(found.folder / "maps.npz")
    assert len(album.ids) == len(maps) == 5
    assert album.stimulus(album.ids[0]).image.shape == (96, 128, 3)
    with pytest.raises(ResultsError, match=r"no readout of .* is saved"):
        export_cell(folder, result.key, "npy", tmp_path / "again", Silent())


def test_a_run_is_not_overwritten_by_scores(finished: Path, export: Export) -> None:
    with pytest.raises(ResultsError, match="is the folder of a run"):
        Scoring(export(), tiny(), "tiny").run(finished.parent, Silent())


def test_8_bit_costs_little(finished: Path, export: Export, tmp_path: Path) -> None:
    exact, rounded = (score(export(format=format), tmp_path / format)[0].metrics for format in ("npy", "png"))
    assert score(export(format="salicon-json") / "predictions.json", tmp_path / "json")[0].metrics == rounded
    for metric in ("cc", "nss", "auc", "auc_judd", "sauc"):
        assert rounded[metric] != exact[metric]
        assert rounded[metric] == pytest.approx(exact[metric], abs=2e-3)


def test_the_key_depends_on_maps_data_and_metrics(export: Export, tmp_path: Path) -> None:
    keys = [
        score(export(), tmp_path / "a")[0].key,
        score(export("centre"), tmp_path / "b")[0].key,
        score(export(), tmp_path / "c", tiny(metrics=["cc"]))[0].key,
        score(export(), tmp_path / "d", tiny(limit=2))[0].key,
    ]
    assert len(set(keys)) == 4
    assert score(export(format="npz"), tmp_path / "e")[0].key == keys[0]


def test_missing_maps(export: Export, tmp_path: Path) -> None:
    maps = export()
    first, second = sorted(maps.iterdir())[:2]
    first.unlink()
    second.unlink()
    with pytest.raises(DataError, match=f"2 of 5 held-out images have no map: {first.stem}.jpg .*--allow-missing"):
        score(maps, tmp_path)
    result, folder = score(maps, tmp_path, allow_missing=True)
    rows = read_per_image(folder)
    assert list(rows.unscored.notna()) == [True, True, False, False, False]
    assert rows.unscored[0] == "; ".join(f"{metric}: {NO_MAP}" for metric in METRICS)
    assert rows.loc[:1, METRICS].isna().all(axis=None)
    assert (result.n_images, result.n_unscored) == (5, 2)
    assert result.unscored == {f"{metric}: {NO_MAP}": 2 for metric in METRICS}
    assert result.metrics["cc"] == pytest.approx(rows.cc[2:].mean(), rel=1e-12)
    assert "2 images without a map are unscored" in read_cells(folder).warnings[0]


def test_no_map_at_all_is_an_error_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    with pytest.raises(DataError, match="5 of 5 held-out images have no map"):
        score(tmp_path / "maps", tmp_path, allow_missing=True)


def test_maps_of_another_size(export: Export, tmp_path: Path) -> None:
    maps = export()
    for file in sorted(maps.iterdir())[:2]:
        np.save(file, np.load(file)[::2, ::2])
    np.save(maps / "of nobody.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"2 of 5 maps have another size .* is 48x64, its image 96x128"):
        score(maps, tmp_path, strict=True)
    result, folder = score(maps, tmp_path)
    told = read_cells(folder).warnings[0]
    assert "2 of 5 maps resized: " in told
    assert "1 maps belong to no held-out image" in told
    assert result.n_unscored == 0


def test_a_map_of_nan_is_unscored_for_that_reason(export: Export, tmp_path: Path) -> None:
    maps = export()
    np.save(sorted(maps.iterdir())[3], np.full((96, 128), np.nan))
    result, _ = score(maps, tmp_path)
    assert result.n_unscored == 1
    assert result.unscored == {f"{metric}: NaN or infinity in the prediction": 1 for metric in METRICS}


def test_information_gain_needs_densities(export: Export, tmp_path: Path) -> None:
    plan = tiny(metrics=["cc", "ig"])
    maps = export("centre")
    result, folder = score(maps, tmp_path / "a", plan)
    assert list(result.metrics) == ["cc"]
    assert "ig left out" in read_cells(folder).warnings[0]
    for file in maps.iterdir():
        np.save(file, np.load(file) + 1e-3)
    declared, _ = score(maps, tmp_path / "b", plan, density=True)
    assert np.isfinite(declared.metrics["ig"])
    assert declared.key != result.key
    for file in maps.iterdir():
        np.save(file, np.load(file) * 1000)  # a density up to scale
    again, _ = score(maps, tmp_path / "c", plan, density=True)
    assert again.metrics["ig"] == pytest.approx(declared.metrics["ig"], abs=1e-5)


def test_scoring_that_broke_off_while_it_wrote_can_be_repeated(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = export("layer1 ridge", "npy")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("harness.results.ResultsFolder.close_cell", full)
        with pytest.raises(OSError, match="No space left"):
            score(maps, tmp_path)
    result, folder = score(maps, tmp_path)
    assert result.status == "finished"
    assert json.loads((folder / "score.json").read_text())["maps"] == str(maps)


def test_what_cannot_be_scored_is_said_before_anything_is_read(tmp_path: Path) -> None:
    plan = make_plan(parse_recipe({**TINY, "metrics": ["ig"]}))
    with pytest.raises(RecipeError, match="ig needs densities: say --density"):
        Scoring(tmp_path / "nowhere", plan, "x").run(tmp_path, Silent())
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_overwritten(finished: Path, export: Export) -> None:
    with pytest.raises(ResultsError, match="is the folder of a run"):
        Scoring(export(), tiny(), finished.name).run(finished.parent, Silent())


def test_folder_names_of_labels(export: Export, tmp_path: Path) -> None:
    _, folder = Scoring(export(), tiny(metrics=["cc"]), "../My model: ü/2").run(tmp_path, Silent())
    assert folder == tmp_path / "My-model-ü-2"
    assert read_cells(folder).probe.item() == "../My model: ü/2"
    assert (label_for(tmp_path), label_for(folder / "score.json")) == (tmp_path.name, "score")


def test_observers_are_not_exported(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="observers predicts from the held-out people's own gaze"):
        export_cell(finished, "observers", "npy", tmp_path / "maps", Silent())
    assert not (tmp_path / "maps").exists()


def test_exported_files_are_named_like_the_stimuli(export: Export) -> None:
    maps = {file.name: np.load(file) for file in export("centre").iterdir()}
    assert set(maps) == {f"{file.stem}.npy" for file in tiny().reader.read("test").files}
    assert {(str(one.dtype), one.shape) for one in maps.values()} == {("float32", (96, 128))}


def test_what_has_changed_since_the_run_is_told(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--format gif: choose one of npy"):
        export_cell(finished, "centre", "gif", tmp_path / "maps", Silent())
    with pytest.raises(ResultsError, match="held-out images of demo are not those of the run"):
        export_cell(finished, "centre", "npy", tmp_path / "maps", Silent(), ["dataset.seed=1"])
    with pytest.raises(ResultsError, match="the weights are not those of the run"):
        export_cell(finished, "layer1 sgd-kl", "npy", tmp_path / "maps", Silent(), ["backbones.0.seed=1"])
    with pytest.raises(ResultsError, match="has no cell centre"):
        export_cell(finished, "centre", "npy", tmp_path / "maps", Silent(), ["probes=[ridge]"])
    assert not (tmp_path / "maps").exists()


def salprobe(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "140", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_the_commands(finished: Path, tmp_path: Path) -> None:
    maps, out = tmp_path / "my model", tmp_path / "out"
    done = salprobe("export", finished, "--cell", "layer1 ridge", "--format", "png", "--out", maps)
    assert done.returncode == 0, done.stderr
    assert "exporting maps: 5 images" in done.stdout
    assert "5 maps of resnet50/random · layer1 · ridge" in done.stdout
    assert "8 bit, each map scaled to 0..255" in done.stdout
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    done = salprobe("score", "--predictions", maps, "--dataset", tmp_path / "tiny.yaml", "--out", out, "--limit", 2)
    assert done.returncode == 0, done.stderr
    assert "my model" in done.stdout
    assert "3 maps belong to no held-out image" in done.stdout
    assert read_cells(out / "my-model").n_images.item() == 2
