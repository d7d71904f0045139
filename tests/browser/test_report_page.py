"""The report's page as people open it: from a file, in a real browser, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reports.report import write_report
from tests.harness.small_run import small_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow
PHONE = 390


@pytest.fixture(scope="module")
def url(_chrome: Chrome, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("report")
    write_report([small_run(out).record.folder], out / "report")
    return (out / "report" / "index.html").as_uri()


def run(browser: Chrome, script: str) -> Any:
    return browser.execute_script(f"return {script}")


def column(browser: Chrome, index: int) -> list[str]:
    return list(run(browser, f'[...document.querySelectorAll("#cells tbody tr")].map(r => r.cells[{index}].innerText)'))


def test_it_opens_whole_and_asks_for_nothing_else(browser: Chrome, url: str, screenshot: Callable[[str], Path]) -> None:
    browser.get(url)
    assert run(browser, "document.readyState") == "complete"
    assert run(browser, "document.images.length") > 8
    assert (
        run(browser, "[...document.images].filter(i => i.getAttribute('loading') !== 'lazy' && !i.naturalWidth).length")
        == 0
    )
    asked = run(
        browser, "performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))"
    )
    assert asked == []
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
    screenshot("report")


def test_the_leaderboard_sorts_by_click_and_by_key(browser: Chrome, url: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get(url)
    before = column(browser, 0)
    headers = browser.find_elements(By.CSS_SELECTOR, "#cells thead th")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", headers[0])
    headers[0].find_element(By.TAG_NAME, "button").click()
    assert headers[0].get_attribute("aria-sort") == "ascending"
    by_name = column(browser, 0)
    assert sorted(by_name) == sorted(before) != []
    assert by_name != before
    button = headers[1].find_element(By.TAG_NAME, "button")
    button.send_keys(Keys.ENTER)
    assert headers[1].get_attribute("aria-sort") == "descending"
    numbers = [float(text.split()[0]) for text in column(browser, 1) if text[:1].isdigit()]
    assert numbers == sorted(numbers, reverse=True)
    button.send_keys(Keys.ENTER)
    assert headers[1].get_attribute("aria-sort") == "ascending"
    assert headers[0].get_attribute("aria-sort") is None


def test_the_filter_leaves_what_has_all_words(browser: Chrome, url: str) -> None:
    from selenium.webdriver.common.by import By

    browser.get(url)
    browser.find_element(By.ID, "filter").send_keys("layer1 ridge")
    left = run(
        browser, '[...document.querySelectorAll("#cells tbody tr")].filter(r => !r.hidden).map(r => r.innerText)'
    )
    assert left
    assert all("layer1" in row and "ridge" in row for row in left)


def test_a_phone_needs_no_sideways_scrolling(browser: Chrome, url: str, screenshot: Callable[[str], Path]) -> None:
    metrics = {"width": PHONE, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get(url)
        assert run(browser, "document.documentElement.scrollWidth") <= PHONE
        assert run(browser, "parseFloat(getComputedStyle(document.body).fontSize)") >= 14
        screenshot("report_phone")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
