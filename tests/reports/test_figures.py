"""Each figure says in words what it shows, and shows what the tables hold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.paired import paired_difference
from harness.results import read_cells, read_pairs
from harness.statistics import holm, seed_from
from reports._board import shared_passes
from reports._pairs import difference
from reports.comparisons import both, compare
from reports.figures import KINDS, Drawn, draw, inline, style
from reports.figures._drawing import key, legend_below, panels, wrapped
from reports.figures.alphas import _at_edge
from reports.study import Study, read_studies
from tests.reports.html import Page


@pytest.fixture
def study(matrix: Path) -> Study:
    (study,) = read_studies([matrix])
    return study


def drawn(study: Study, name: str) -> Drawn | None:
    kind = next(kind for kind in KINDS if kind.name == name)
    with style():
        return next((figure for _, figure in draw(kind, [study])), None)


def test_the_layer_curve_has_every_layer_floor_and_ceiling(study: Study, matrix: Path) -> None:
    figure = drawn(study, "layer_curve")
    assert figure is not None
    cells = read_cells(matrix)
    for row in cells[cells.backbone == "resnet50"].itertuples():
        assert f"{row.layers} {row.cc:.3f}" in figure.alt
    for row in cells[cells.bound.notna()].itertuples():
        assert f"{row.bound} ({row.probe}) {row.cc:.3f} [{row.cc_ci_low:.3f}, {row.cc_ci_high:.3f}]" in figure.alt
    (axis,) = figure.figure.axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["stem", "layer3", "all"]
    places = axis.get_xticks()
    assert list(places[:2]) == [0, 13]  # at their depths
    assert places[2] > 13


def test_trained_untrained_and_pixels_are_set_against_each_other(study: Study, matrix: Path) -> None:
    figure = drawn(study, "controls")
    assert figure is not None
    pairs = read_pairs(matrix)
    test = pairs[(pairs.cell_a == "caffe-all-sgd-kl") & (pairs.cell_b == "random-all-sgd-kl")].iloc[0]
    assert difference(test.to_dict()) in figure.caption
    assert "best low-level one (pixels · ridge" in figure.caption
    assert "pixels pixels ridge" in figure.alt


def test_solvers_are_compared_on_the_same_layers_by_the_runs_own_tests(study: Study, matrix: Path) -> None:
    figure = drawn(study, "solvers")
    assert figure is not None
    pairs = read_pairs(matrix)
    assert len(figure.table) == 1 + 6  # two weights, three layer sets
    for weights in ("caffe", "random"):
        for layers in ("stem", "layer3", "all"):
            a, b = f"{weights}-{layers}-ridge", f"{weights}-{layers}-sgd-kl"
            test = pairs[(pairs.cell_a == a) & (pairs.cell_b == b)].iloc[0].to_dict()
            turned = {"difference": -test["difference"], "low": -test["high"], "high": -test["low"]}
            (line,) = [line for line in figure.table if line[0] == f"resnet50/{weights} · {layers}"]
            assert line[2] == difference(turned)
            assert line[5] == "40"


def test_tests_that_the_run_did_not_make_are_made_in_the_same_way(study: Study) -> None:
    rows = {row["cell_key"]: row for row in study.scored}
    pairs = [(rows["caffe-all-sgd-kl"], rows[key]) for key in ("caffe-all-ridge", "random-all-ridge")]
    found = compare(study, pairs, "nss")  # pairs.parquet has cc only
    plain = []
    for (a, b), test in zip(pairs, found, strict=True):
        x, y = map(np.array, both(study, a, b, "nss"))
        expected = paired_difference(x, y, seed_from(f"{a['cell_key']}/{b['cell_key']}", "report", "nss"))
        assert test is not None
        assert test["difference"] == pytest.approx((x - y).mean())
        assert (test["low"], test["high"], test["p_value"]) == (expected.low, expected.high, expected.p_value)
        plain.append(expected.p_value)
    assert [test["p_holm"] for test in found if test] == holm(plain).tolist()


def test_distributions_tell_quartiles(study: Study) -> None:
    figure = drawn(study, "distributions")
    assert figure is not None
    best = study.best
    assert best is not None
    column = study.results[best["cell_key"]].per_image.column("cc")
    assert f"median {np.median(column):.3f}" in figure.alt
    titles = [axis.get_title(loc="left") for axis in figure.figure.axes if axis.get_visible()]
    assert titles == ["CC", "AUC", "NSS", "SIM", "KLD"]


def test_what_readouts_tell_is_drawn(study: Study) -> None:
    alt = {name: figure.alt for name in ("training", "alphas", "layer_weights") if (figure := drawn(study, name))}
    assert "resnet50/caffe · layer3 · sgd-kl from 1.5 to 1.2 in 2 epochs" in alt["training"]
    assert "resnet50/caffe · layer3 · ridge 10 (at the edge)" in alt["alphas"]
    assert "resnet50/caffe · all · ridge: layer1 -25%, layer3 125%" in alt["layer_weights"]


def test_shared_passes_are_counted_once(study: Study) -> None:
    figure = drawn(study, "time")
    assert figure is not None
    assert "resnet50/caffe, shared passes: train forward 13.0 s, test forward 5.5 s" in figure.alt
    assert "resnet50/caffe, own (6 cells): fit 2.4 s, score 18.0 s" in figure.alt


def test_passes_of_several_runs_into_one_folder_add_up() -> None:
    """Cells that were computed together carry the same seconds; a layer that was added later has its own run's."""

    def row(layers: str, forward: float) -> dict[str, Any]:
        return {"backbone": "resnet50", "weights": "caffe", "layers": layers, "time_train_forward_s": forward}

    rows = [row("layer1", 14.0), row("layer4", 2.5), row("layer2", 14.0)]
    assert shared_passes(rows) == {"resnet50/caffe": {"time_train_forward_s": 16.5}}


@pytest.mark.parametrize(("chosen", "edge"), [(0.1, False), (0, True), (1, True)])
def test_the_edge_is_that_of_all_that_was_tried(chosen: float, edge: bool) -> None:
    """As the run's own flag has it, though a penalty of 0 has no place on the axis."""
    info = {"alphas": [0, 0.1, 1], "cv_error": [0.3, 0.2, 0.25], "alpha": chosen}
    assert _at_edge(SimpleNamespace(info=lambda _: info), {}) is edge  # type: ignore[arg-type]


def test_without_something_to_show_there_is_no_figure(osie: Path) -> None:
    (study,) = read_studies([osie])
    shown = {kind.name for kind in KINDS if drawn(study, kind.name)}
    assert shown == {"time"}  # one image, no depths, nothing that two solvers read
    assert all(kind.without for kind in KINDS)


def test_figures_share_a_page_without_sharing_ids(study: Study) -> None:
    texts = []
    with style():
        for kind in KINDS:
            texts += [inline(figure) for _, figure in draw(kind, [study])]
    assert len(texts) == len(KINDS)
    page = Page("<h1></h1>" + "".join(texts))
    page.check()
    assert not any(math.isnan(float(e.attributes.get("x", "0").split()[0])) for e in page.all("use"))


LONG = "resnet50@1+0.5+0.25+mirror+stride16/caffe · three sizes · ridge-standardised-position-centre0.3-rectified-1.25"


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_titles_of_long_names_stay_over_their_panels(columns: int) -> None:
    with style():
        figure, axes = panels(columns, columns, height=3)
        for axis in axes:
            axis.set_title(wrapped(LONG, columns))
        figure.draw_without_rendering()
        spans = [axis._left_title.get_window_extent() for axis in axes]  # type: ignore[attr-defined]
    ends = [*(span.x0 for span in spans[1:]), figure.bbox.x1 + 8]
    assert all(span.x1 < end for span, end in zip(spans, ends, strict=True))
    assert wrapped(LONG, columns).replace("\n", "").replace(" ", "") == LONG.replace(" ", "")
    assert "stride16/\ncaffe" in wrapped(LONG, 3) or "stride16/caffe" in wrapped(LONG, columns)


@pytest.mark.parametrize("name", ["ridge", LONG, LONG.replace("standardised", "standardised-root0.125")])
def test_a_legend_stays_within_its_figure(name: str) -> None:
    with style():
        figure, _ = panels(2, 2, height=2)
        legend_below(figure, [key(name, "k"), key("floor: centre", "k")], 3)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert "".join(legend.get_texts()[0].get_text().split()) == "".join(name.split())


def test_a_short_grid_of_penalties_is_labelled_penalty_by_penalty(matrix: Path) -> None:
    for file in matrix.glob("cells/*/readout.json"):
        document = json.loads(file.read_text())
        if "alphas" in document["info"]:
            document["info"] |= {"alpha": 1.0, "alphas": [0.5, 1.0, 2.0], "cv_error": [2.0, 1.5, 3.0]}
            file.write_text(json.dumps(document))
    (study,) = read_studies([matrix])
    figure = drawn(study, "alphas")
    assert figure is not None
    axis = figure.figure.axes[0]
    figure.figure.draw_without_rendering()
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0.5", "1", "2"]
    assert not any(label.get_text() for label in axis.get_xticklabels(minor=True))
