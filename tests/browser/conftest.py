"""A headless Chromium; tests that need it skip, with the reason, where there is none."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars"),
)
SIZE = (1500, 1000)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def _needed() -> tuple[str, str]:
    """(browser, driver); skips where one is missing."""
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("selenium is not installed: pip install -e '.[dev]'")
    browser = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium with chromedriver on this machine (Debian: apt install chromium chromium-driver)")
    return browser, driver


@pytest.fixture(scope="session")
def _chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    browser, driver = _needed()
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={SIZE[0]},{SIZE[1]}"):
        options.add_argument(flag)
    chrome = Chrome(options=options, service=ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def browser(_chrome: Chrome) -> Iterator[Chrome]:
    """An empty page of SIZE pixels."""
    _chrome.set_window_size(*SIZE)
    _chrome.get("about:blank")
    _chrome.get_log("browser")  # type: ignore[no-untyped-call]  # what earlier pages said is theirs
    yield _chrome
    _chrome.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    _chrome.get("about:blank")


@pytest.fixture
def screenshot(browser: Chrome, tmp_path: Path) -> Callable[[str], Path]:
    """screenshot(name): the page as a PNG, in the folder that SALPROBE_SCREENSHOTS names, else the test's own."""
    folder = Path(os.environ.get("SALPROBE_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str) -> Path:
        path = folder / f"{name}.png"
        assert browser.save_screenshot(str(path))
        return path

    return take
