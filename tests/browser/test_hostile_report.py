"""The report of a run whose names are scripts, in a real browser: none of them runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.plan import make_plan
from harness.progress import Silent
from harness.recipe import load_recipe
from harness.run import run
from reports.report import write_report
from tests.harness.hostile_run import READABLE, SCRIPT, folder_recipe
from tests.plugins import forgotten

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


def test_no_name_becomes_markup(browser: Chrome, tmp_path: Path) -> None:
    recipe = folder_recipe(tmp_path / "data")
    with forgotten():
        folder = run(make_plan(load_recipe(str(recipe))), tmp_path / "out", Silent()).folder
    page, *_ = write_report([folder], tmp_path / "report")
    browser.get(page.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return window.hacked === undefined")
    assert browser.execute_script("return document.scripts.length") == 1
    handlers = "return [...document.querySelectorAll('*')].filter(e => e.getAttributeNames().some(n => /^on/i.test(n)))"
    assert browser.execute_script(handlers) == []
    words = browser.execute_script("return document.body.textContent")
    assert SCRIPT in words
    assert any(name in words for name in READABLE)
    for svg in (tmp_path / "report" / "figures").glob("*.svg"):
        browser.get(svg.as_uri())
        assert browser.execute_script("return window.hacked === undefined")
        assert browser.execute_script("return document.getElementsByTagName('script').length") == 0
