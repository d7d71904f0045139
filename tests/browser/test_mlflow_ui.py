"""What a scientist does in MLflow's UI after a run, in a real browser: open the link, find, compare, look."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.progress import Silent
from harness.results import BEST_AND_WORST, CONTACT_SHEET
from harness.tracking.later import track_folders
from harness.tracking.record import run_name
from harness.tracking.store import DATABASE
from tests.harness.small_run import Told, small_run
from tests.harness.test_tracking_server import wait_for
from tests.harness.tracked import free_port

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow
PATIENCE = 40
SCRIPT_TICK = """
for (const row of document.querySelectorAll(`.ag-row[row-index="${arguments[0]}"]`)) {
  const box = row.querySelector("input[type=checkbox]");
  if (box && !box.checked) { box.click(); return false; }
  if (box) return true;
}
return false;
"""
SCRIPT_NAMES = """
return [...document.querySelectorAll(".ag-row a")].map(a => a.innerText).filter(text => text);
"""
SCRIPT_FILE = """
const file = document.querySelector(`[artifact-name="${arguments[0]}"]`);
if (file) file.parentElement.click();
return !!file;
"""
SCRIPT_PICTURES = """
return [...document.querySelectorAll("img")].filter(i => i.naturalWidth > 0).map(i => decodeURIComponent(i.src));
"""


@dataclass(frozen=True)
class Ui:
    """`salprobe ui` on the store of a finished run."""

    told: Told
    links: dict[str, str]


@pytest.fixture(scope="module")
def ui(_chrome: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    out = tmp_path_factory.mktemp("ui")
    told = small_run(out)
    track_folders([told.record.folder], f"sqlite:///{(out / DATABASE).as_posix()}", Silent())
    port = free_port()
    command = [sys.executable, "-u", "-m", "harness", "ui", "--out", str(out), "--port", str(port)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    with (out / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        try:
            yield Ui(told, _links(process))
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def _links(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """What the command prints, as soon as the server answers."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line.decode()
        if line.startswith(b"MLflow UI on"):
            break
    links = dict(re.findall(r"^ +(\w+): +(http\S+)$", said, re.MULTILINE))
    wait_for(links["table"].split("#")[0], process)
    return links


class Page:
    """What is done on a page, with patience."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser

    def open(self, url: str) -> None:
        """From the link alone, in a browser that has never been here."""
        self.browser.get(url.split("#")[0])
        self.browser.execute_script(
            "localStorage.clear(); localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
        )
        self.browser.get("about:blank")
        self.browser.get(url)

    def until(self, what: str, holds: Callable[[], object]) -> None:
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(
            self.browser, PATIENCE, 0.2, ignored_exceptions=[WebDriverException, LookupError, ValueError]
        )
        wait.until(lambda _: holds(), f"{what}; the page says: {self.text()[:2000]}")

    def text(self) -> str:
        from selenium.webdriver.common.by import By

        return self.browser.find_element(By.TAG_NAME, "body").text

    def shows(self, *texts: str) -> None:
        for text in texts:
            self.until(f"no {text!r}", lambda text=text: text in self.text())  # type: ignore[misc]

    def click(self, text: str, tag: str = "*") -> None:
        """The innermost element of exactly this text."""
        from selenium.webdriver.common.by import By

        def clicked() -> bool:
            self.browser.find_elements(By.XPATH, f"//{tag}[normalize-space()='{text}']")[-1].click()
            return True

        self.until(f"nothing to click: {text!r}", clicked)

    def open_common_file(self, name: str) -> None:
        """A file that all compared runs have; MLflow's list of them may be drawn with no width."""
        self.until(f"no file {name}", lambda: self.browser.execute_script(SCRIPT_FILE, name))

    def pictures(self) -> list[str]:
        """The addresses of all images that are really there."""
        return list(self.browser.execute_script(SCRIPT_PICTURES))


@pytest.fixture
def page(browser: Chrome) -> Page:
    return Page(browser)


def names(page: Page) -> list[str]:
    return list(dict.fromkeys(page.browser.execute_script(SCRIPT_NAMES)))


def tick(page: Page, name: str) -> None:
    page.until(f"cannot select {name}", lambda: page.browser.execute_script(SCRIPT_TICK, names(page).index(name)))


def test_the_link_lists_all_runs_and_three_of_them_compare(
    ui: Ui, page: Page, screenshot: Callable[[str], Path]
) -> None:
    page.open(ui.links["table"])
    wanted = {run_name(result.label) for result in ui.told.results} | {"layers · ridge · resnet50/random"}
    page.until("not all runs are listed", lambda: wanted <= set(names(page)))
    assert set(names(page)) == wanted
    page.shows("cc_ci_low", "cc_ci_high", "share_cc", f"{len(wanted)} matching runs")
    scored = [result for result in ui.told.results if "cc" in result.metrics]
    best = max(scored, key=lambda result: result.metrics["cc"])
    assert names(page)[0] == run_name(best.label)  # sorted by the metric that ranks
    screenshot("runs_table")

    chosen = ["layer1 · ridge · resnet50/random", "stem · ridge · resnet50/random", "centre"]
    for name in chosen:
        tick(page, name)
    screenshot("runs_selected")
    page.click("Compare", "button")
    page.shows("Comparing 3 Runs", *chosen)
    for label in chosen:
        value = next(result.metrics["cc"] for result in scored if run_name(result.label) == label)
        page.shows(f"{value:.3f}"[:5])
    page.open_common_file(CONTACT_SHEET)
    page.until(
        "the contact sheets do not show",
        lambda: len({src for src in page.pictures() if src.startswith("blob:")}) == len(chosen),
    )
    screenshot("compare")


def test_the_charts_show_curves_and_pictures_side_by_side(
    ui: Ui, page: Page, screenshot: Callable[[str], Path]
) -> None:
    page.browser.set_window_size(1500, 3200)
    page.open(ui.links["charts"])
    page.shows("Ranking", "Layer curves", "layer_curve/cc", "train/step_loss", "ridge/cv_error_at_10log10_alpha")
    pictured = [result for result in ui.told.results if result.metrics]
    page.until(
        "the image grid is not filled",
        lambda: sum("/prediction+" in src for src in page.pictures()) == len(pictured),
    )
    assert sum("/human_gaze+" in src for src in page.pictures()) == len(pictured)
    page.until(
        "no curves",
        lambda: page.browser.execute_script("return document.querySelectorAll('.scatterlayer .trace').length") >= 3,
    )
    screenshot("charts")


def test_a_run_has_its_table_pictures_and_model(ui: Ui, page: Page, screenshot: Callable[[str], Path]) -> None:
    page.open(ui.links["table"])
    page.click("layer1 · ridge · resnet50/random", "a")
    page.shows("Metrics", "demo", "resnet50-random-layer1-ridge")
    screenshot("run")
    page.click("Artifacts")
    page.click("per_image.json")
    page.shows("image_id", str(int(ui.told.results[0].per_image.ids[0])))
    screenshot("run_table")
    page.click(BEST_AND_WORST)
    page.until("no picture", lambda: any(BEST_AND_WORST in src or "blob:" in src for src in page.pictures()))
    screenshot("run_pictures")
