"""The views that `salprobe ui` links to: what is in them, and that nobody else's are touched."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import zlib
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.errors import TrackingError
from harness.progress import Silent
from harness.tracking.later import track_folders
from harness.tracking.matrices import stored_matrices
from harness.tracking.record import ALPHA_PATH, alpha_path, run_name
from harness.tracking.store import store_uri
from harness.tracking.ui import OPEN, address, is_loopback, show_links, start_ui
from harness.tracking.views import DEFLATED, OURS, SECTIONS, TAG, MatrixView, matrix_filter, search_link, view_link
from tests.harness.small_run import FAILED, Told
from tests.harness.tracked import client, finished, free_port, record, runs, track

CC = ("cc", "cc_ci_low", "cc_ci_high", "share_cc")
METRICS = (*CC, "auc", "auc_ci_low", "depth", "time/fit_s", "time/train_decode_s")


def view(**changes: Any) -> MatrixView:
    made = {"metrics": METRICS, "higher_is_better": True, "ranked_by": "cc"} | changes
    return MatrixView(matrix="m1", recipe="osie", dataset="OSIE", started=5, **made)


def unpacked(value: str) -> dict[str, Any]:
    """As the UI reads it."""
    envelope = json.loads(value)
    packed = envelope["state"]
    assert packed.startswith(DEFLATED)
    return dict(json.loads(zlib.decompress(base64.b64decode(packed.removeprefix(DEFLATED)))))


def test_a_view_is_sorted_by_the_metric_that_ranks_and_fits_into_a_tag() -> None:
    made = view()
    state = unpacked(made.tag())
    assert state == made.state()
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`cc`", False)
    assert view(higher_is_better=False).state()["orderByAsc"]
    assert state["selectedColumns"][: len(CC)] == [f"metrics.`{name}`" for name in CC]
    assert {"metrics.`time/fit_s`", "tags.`probe`"} <= set(state["selectedColumns"])
    assert len(made.tag()) < 5000  # what MLflow 3.1 takes


def test_every_chart_has_a_section_and_an_id_of_its_own() -> None:
    state = view().state()
    sections = {section["uuid"] for section in state["compareRunSections"]}
    charts = state["compareRunCharts"]
    assert {chart["metricSectionId"] for chart in charts} <= sections
    assert len({chart["uuid"] for chart in charts}) == len(charts)
    assert len({chart["metricSectionId"] for chart in charts}) == len(SECTIONS)


def test_links_hold_their_parts_back_when_taken_apart() -> None:
    charts = urlsplit(view_link("http://here:5000/", "7", "m1", charts=True)).fragment
    assert charts.startswith("/experiments/7/runs?")
    asked = parse_qs(charts.split("?")[1])
    assert asked == {"viewStateShareKey": [f"{OURS}m1"], "compareRunsMode": ["CHART"]}
    searched = parse_qs(urlsplit(search_link("http://here:5000", "7", view())).fragment.split("?")[1])
    assert searched == {"searchFilter": [matrix_filter("m1")], "orderByKey": ["metrics.`cc`"], "orderByAsc": ["false"]}


@given(st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=20, unique=True))
def test_alphas_are_in_order_and_found_again_from_their_steps(alphas: list[float]) -> None:
    found = alpha_path({"alphas": alphas, "cv_error": [1.0] * len(alphas)})
    steps = [step for _, _, step in found]
    assert {name for name, _, _ in found} == {ALPHA_PATH}
    assert steps == sorted(steps)
    for alpha, step in zip(sorted(alphas), steps, strict=True):
        assert 10 ** (step / 10) == pytest.approx(alpha, rel=0.13)  # half a step is 12 %


def test_an_alpha_of_zero_has_no_place_on_the_axis() -> None:
    assert alpha_path({"alphas": [0.0, 1.0], "cv_error": [3.0, 2.0]}) == [(ALPHA_PATH, 2.0, 0)]


def test_a_matrix_is_told_with_its_best_cell_and_its_links(told: Told, mlflow_store: Path) -> None:
    uri = store_uri(mlflow_store)
    track_folders([told.record.folder], uri, Silent())
    (matrix,) = stored_matrices(uri)
    assert (matrix.view.matrix, matrix.cells, matrix.failed) == (told.record.matrix_id, len(told.results), FAILED)
    scored = [r for r in told.results if r.cell.backbone != "none" and "cc" in r.metrics]
    best = max(scored, key=lambda result: result.metrics["cc"])
    assert matrix.best == f"{run_name(best.label)} (cc {best.metrics['cc']:.3f})"
    said = StringIO()
    show_links(uri, "http://127.0.0.1:5000", Console(file=said, width=40))
    for link in (view_link("http://127.0.0.1:5000", matrix.experiment, told.record.matrix_id), matrix.best):
        assert link in said.getvalue()


def test_a_matrix_ranked_by_a_metric_that_is_not_loaded_hides_no_other(mlflow_store: Path) -> None:
    run = record(mlflow_store, metrics=["mine", "cc"], compare="mine")
    track(run, finished(run, "k1", metrics={"mine": 0.2, "cc": 0.5}), finished(run, "k2", metrics={"mine": 0.3}))
    (matrix,) = stored_matrices(store_uri(mlflow_store))
    assert (matrix.view.ranked_by, matrix.best.rpartition(" (")[2]) == ("mine", "mine 0.300)")


def test_the_filter_of_a_matrix_finds_its_runs_and_no_others(mlflow_store: Path) -> None:
    first, second = record(mlflow_store), record(mlflow_store, matrix="m2")
    track(first, finished(first, "k1"), finished(first, "k2"))
    track(second, finished(second, "k2"), finished(second, "k3"))
    mlflow, experiment = client(mlflow_store), runs(mlflow_store)[0].info.experiment_id
    for matrix, keys in {"m1": {"k1", "k2"}, "m2": {"k2", "k3"}}.items():
        found = mlflow.search_runs([experiment], matrix_filter(matrix))
        assert {run.data.tags["cell_key"] for run in found} == keys


def test_views_and_words_of_people_stay(mlflow_store: Path) -> None:
    run, uri = record(mlflow_store), store_uri(mlflow_store)
    track(run, finished(run))
    mlflow, experiment = client(mlflow_store), runs(mlflow_store)[0].info.experiment_id
    mlflow.set_experiment_tag(experiment, f"{TAG}mine", "a view of mine")
    mlflow.set_experiment_tag(experiment, f"{TAG}{OURS}gone", "of a matrix that is no more")
    mlflow.set_experiment_tag(experiment, "mlflow.note.content", "my own words")
    stored_matrices(uri)
    track(run, finished(run))
    tags = mlflow.get_experiment(experiment).tags
    assert tags[f"{TAG}mine"] == "a view of mine"
    assert f"{TAG}{OURS}gone" not in tags
    assert f"{TAG}{OURS}m1" in tags
    assert tags["mlflow.note.content"] == "my own words"


def test_a_server_gets_links_and_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with pytest.raises(TrackingError, match="cannot be read"):  # it is away: said, not waited for
        start_ui(tmp_path, 5000, Console(file=StringIO()))


@pytest.mark.parametrize(
    ("host", "private", "link"),
    [
        ("127.0.0.1", True, "127.0.0.1"),
        ("::1", True, "[::1]"),
        ("localhost", True, "localhost"),
        ("0.0.0.0", False, "127.0.0.1"),
        ("192.168.0.7", False, "192.168.0.7"),
        ("lab.example.org", False, "lab.example.org"),
    ],
)
def test_a_host_that_others_reach_is_warned_of(
    host: str, private: bool, link: str, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (is_loopback(host), address(host)) == (private, link)
    run = record(mlflow_store)
    track(run, finished(run))
    started: list[list[str]] = []
    monkeypatch.setattr("harness.tracking.ui._serve", lambda command: started.append(command) or 0)
    said = StringIO()
    assert start_ui(mlflow_store, 5000, Console(file=said, width=400), host) == 0
    assert (OPEN.format(host=host) in said.getvalue()) is not private
    assert f"http://{link}:5000" in said.getvalue()
    assert started[0][started[0].index("--host") + 1] == host


CHILD = "print(1, flush=True); import time; time.sleep(99)"
FAMILY = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_who_stops_the_command_stops_the_server_and_what_it_started(how: signal.Signals) -> None:
    code = f"""
import signal, sys
from harness.tracking.ui import _serve
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what runs in the background ignore it
sys.exit(_serve([sys.executable, '-c', {FAMILY!r}]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    process.send_signal(how)
    assert process.wait(30) == 0
    assert process.stdout.read() == b""  # at its end: the last who could have written to it is gone
