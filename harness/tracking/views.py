"""What MLflow's UI shows of a matrix when its link is opened: columns, sorting and charts, in a shared view's form.

Written for MLflow 3.1 to 3.17. A UI that does not know the format shows its own defaults, nothing breaks.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from harness.results import interval_columns, share_columns
from harness.tracking.layer_curves import PREFIX
from harness.tracking.pictures import KEYS
from harness.tracking.record import ALPHA_PATH, TRAINING

TAG, OURS = "mlflow.sharedViewState.", "salprobe-"
"""Of the experiment; OURS and the matrix' id follow."""
DEFLATED = "deflate;"
NAME_WIDTH, NUMBER_WIDTH, TEXT_WIDTH = 270, 84, 110
RUN_NAME = "attributes.`Run Name`"
"""How the table calls the column of run names."""
OWN_PHASES = ("time/fit_s", "time/solve_s", "time/predict_s", "time/score_s")
TELLING = ("ig", "sauc", "nss", "auc")
PICTURES = "Pictures"
SECTIONS = ("Ranking", "Layer curves (the step is the depth)", PICTURES, "Training", "Ridge penalty", "Time")
OTHERS = ("layer_curve", "layer_curve_interval", "ridge", "time", "train", "Model metrics", "System metrics")
"""Where the UI puts a chart for every other metric: there, but folded."""
Card = dict[str, Any]


@dataclass(frozen=True)
class MatrixView:
    """What a view of a matrix is made of."""

    matrix: str
    recipe: str
    dataset: str
    ranked_by: str
    higher_is_better: bool
    metrics: tuple[str, ...]
    """Every metric that some run has."""
    started: int
    """Of the earliest run, milliseconds."""

    @property
    def key(self) -> str:
        """The experiment's tag."""
        return TAG + OURS + self.matrix

    def tag(self) -> str:
        """Its value: the state under a name, as the UI lists saved views."""
        state = json.dumps(self.state(), separators=(",", ":"))
        packed = DEFLATED + base64.b64encode(zlib.compress(state.encode())).decode()
        name = f"{self.recipe} on {self.dataset} ({self.matrix})"
        return json.dumps({"name": name, "createdAt": self.started, "updatedAt": self.started, "state": packed})

    def state(self) -> dict[str, Any]:
        """Search, sorting, columns and charts."""
        columns = self._columns()
        return {
            "searchFilter": matrix_filter(self.matrix),
            "orderByKey": f"metrics.`{self.ranked_by}`",
            "orderByAsc": not self.higher_is_better,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": list(columns),
            "columnOrder": [RUN_NAME, *columns],
            "columnWidths": {RUN_NAME: NAME_WIDTH, **columns},
            "runsHiddenMode": "SHOW_ALL",
            "compareRunCharts": list(self._charts()),
            "compareRunSections": [_section(name) for name in (*SECTIONS, *OTHERS)],
            "isAccordionReordered": True,
            "hideEmptyCharts": True,
            "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        }

    def _columns(self) -> dict[str, int]:
        """Column -> width: the ranking metric with its interval, the others, timings, names to group by."""
        first = [self.ranked_by, *interval_columns(self.ranked_by), share_columns(self.ranked_by)[0]]
        means = self._means()
        numbers = [*first, *means[1:4], *self._times()[:4], *means[4:], *self._times()[4:]]
        columns = {f"metrics.`{name}`": NUMBER_WIDTH for name in dict.fromkeys(numbers) if name in self.metrics}
        return columns | {f"tags.`{name}`": TEXT_WIDTH for name in ("backbone", "weights", "layers", "probe")}

    def _charts(self) -> Iterator[Card]:
        shown = self._means()[:3]
        ranking, layers, pictures, training, ridge, seconds = SECTIONS
        for name in [shown[0], share_columns(self.ranked_by)[0], *shown[1:2]]:
            yield self._card("BAR", ranking, name)
        for name in shown:
            yield self._line(layers, PREFIX + name)
        yield {**self._card("IMAGE", pictures, "pictures"), "imageKeys": list(KEYS), "step": 0, "metricKey": ""}
        for name in TRAINING.values():
            yield self._line(training, name)
        yield {**self._line(ridge, ALPHA_PATH), "scaleType": "log"}
        for name in self._times():
            yield self._card("BAR", seconds, name)

    def _means(self) -> list[str]:
        """Means with an interval, the one that ranks first, then those that say something else than it."""
        known = [name for name in self.metrics if interval_columns(name)[0] in self.metrics and "/" not in name]
        return list(dict.fromkeys([self.ranked_by, *(name for name in TELLING if name in known), *known]))

    def _times(self) -> list[str]:
        """Phases of the cell itself first: those of the passes are shared by all cells of a network."""
        phases = [name for name in self.metrics if name.startswith("time/")]
        own = [name for name in OWN_PHASES if name in phases]
        return list(dict.fromkeys([*own, *phases]))

    def _line(self, section: str, metric: str) -> Card:
        return {
            **self._card("LINE", section, metric),
            "selectedMetricKeys": [metric],
            "xAxisKey": "step",
            "scaleType": "linear",
            "xAxisScaleType": "linear",
            "lineSmoothness": 0,
            "useGlobalXaxisKey": False,
            "useGlobalLineSmoothing": False,
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "range": {},
        }

    def _card(self, kind: str, section: str, metric: str) -> Card:
        return {
            "type": kind,
            "uuid": f"{OURS}{metric}",
            "metricSectionId": f"{OURS}{section}",
            "metricKey": metric,
            "displayName": metric,
            "runsCountToCompare": 100,
            "deleted": False,
            "isGenerated": False,
        }


def matrix_filter(matrix: str) -> str:
    """What finds all runs of a matrix: a cell may be part of several."""
    return f"tags.matrices LIKE '%{matrix}%'"


def view_link(base: str, experiment: str, matrix: str, *, charts: bool = False) -> str:
    """Where the UI shows the saved view of a matrix, as a table or as charts."""
    query = {"viewStateShareKey": OURS + matrix, **({"compareRunsMode": "CHART"} if charts else {})}
    return f"{base.rstrip('/')}/#/experiments/{experiment}/runs?{urlencode(query)}"


def search_link(base: str, experiment: str, view: MatrixView) -> str:
    """The same runs by a plain search, for a UI without saved views."""
    query = {
        "searchFilter": matrix_filter(view.matrix),
        "orderByKey": f"metrics.`{view.ranked_by}`",
        "orderByAsc": str(not view.higher_is_better).lower(),
    }
    return f"{base.rstrip('/')}/#/experiments/{experiment}/runs?{urlencode(query, quote_via=quote)}"


def _section(name: str) -> dict[str, Any]:
    wide = {"columns": 1, "cardHeight": 700} if name == PICTURES else {}
    return {
        "uuid": f"{OURS}{name}",
        "name": name,
        "display": name in SECTIONS,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        **wide,
    }
