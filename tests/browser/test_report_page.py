"""The report in a real browser, from file://, at the width of a desk and of a phone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import parse_recipe
from harness.results import read_cells
from harness.run import run
from reports.report import write_report
from tests.reports.conftest import SMALL

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PHONE = 390
ORDER = "return [...document.querySelectorAll('#cells tbody tr')].filter(r => !r.hidden).map(r => r.dataset.key)"
HEADER = "return [...document.querySelectorAll('#cells th')].find(h => h.textContent.startsWith(arguments[0]))"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_plan(parse_recipe(SMALL)), tmp_path_factory.mktemp("results"), Silent()).folder


@pytest.fixture(scope="module")
def address(results: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    page, *_ = write_report([results], tmp_path_factory.mktemp("report"))
    return page.as_uri()


@contextlib.contextmanager
def wide(browser: Chrome, width: int, height: int = 900) -> Iterator[None]:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def by(results: Path, metric: str, *, ascending: bool) -> list[Any]:
    return list(read_cells(results).sort_values(metric, ascending=ascending, kind="stable").cell_key)


def test_nothing_is_fetched_and_nothing_goes_wrong(browser: Chrome, address: str) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
    browser.get(address)
    assert "small on demo" in browser.title
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in fetched if not name.startswith("data:")] == []
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_every_picture_is_there(browser: Chrome, address: str) -> None:
    browser.get(address)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    count = "return [...document.images].map(i => i.naturalWidth)"
    widths = browser.execute_script(count)
    assert len(widths) > 30
    assert all(width > 0 for width in widths)
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.plot svg')].map(s => s.getBoundingClientRect().height)"
    )
    assert len(sizes) >= 6
    assert all(size > 100 for size in sizes)


def test_the_leaderboard_is_sorted_by_click_and_by_keyboard(browser: Chrome, address: str, results: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(address)
    assert browser.execute_script(ORDER) == by(results, "cc", ascending=False)
    header = browser.execute_script(HEADER, "NSS")
    button = header.find_element("tag name", "button")
    button.click()
    assert browser.execute_script(ORDER) == by(results, "nss", ascending=False)
    assert header.get_attribute("aria-sort") == "descending"
    button.send_keys(Keys.ENTER)
    assert browser.execute_script(ORDER) == by(results, "nss", ascending=True)
    assert header.get_attribute("aria-sort") == "ascending"
    lower_is_better = browser.execute_script(HEADER, "KLD")
    lower_is_better.find_element("tag name", "button").send_keys(Keys.SPACE)
    assert browser.execute_script(ORDER) == by(results, "kld", ascending=True)
    assert header.get_attribute("aria-sort") is None


def test_the_filter_leaves_what_has_all_words(browser: Chrome, address: str, results: Path) -> None:
    browser.get(address)
    browser.find_element("id", "filter").send_keys("layer2 RIDGE")
    cells = read_cells(results)
    wanted = cells[cells.layers.str.contains("layer2") & (cells.probe == "ridge")].cell_key
    assert sorted(browser.execute_script(ORDER)) == sorted(wanted)
    assert browser.find_element("id", "count").text == f"{len(wanted)} of {len(cells)} cells"


def test_without_scripts_the_page_is_whole(browser: Chrome, address: str, results: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(address)
        rows = browser.find_elements("css selector", "#cells tbody tr")
        assert [row.get_attribute("data-key") for row in rows] == by(results, "cc", ascending=False)
        assert not browser.find_element("id", "filter").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_phone_never_scrolls_sideways(browser: Chrome, address: str, screenshot: Callable[[str], Path]) -> None:
    for width, name in ((1400, "report"), (PHONE, "report_phone")):
        with wide(browser, width):
            browser.get(address)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert screenshot(name).stat().st_size > 10_000
