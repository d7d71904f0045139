"""An audit that looked up nothing must not look like one that found nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.audit import PROJECT, installed, judged, run

SOUND = {"name": "numpy", "version": "2.0.0", "vulns": []}
HOLE = {
    "name": "pillow",
    "version": "9.0.0",
    "vulns": [{"id": "PYSEC-2023-175", "fix_versions": ["10.0.1"], "aliases": [], "description": "a heap overflow"}],
}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.5.0)"}


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([SOUND], 0, "1 of 1 packages were looked up, 0 known vulnerabilities"),
        ([SOUND, HOLE], 1, "pillow 9.0.0: PYSEC-2023-175, mended in 10.0.1"),
        ([SOUND, UNKNOWN], 2, "1 were not: torch: Dependency not found"),
        ([HOLE, UNKNOWN], 1, "1 were not: torch"),
        ([UNKNOWN], 2, "nothing was looked up: not one of 1 packages"),
        ([], 2, "nothing was looked up"),
    ],
)
def test_the_exit_code_tells_what_was_found(packages: list[dict[str, Any]], code: int, words: str) -> None:
    found, said = judged({"dependencies": packages, "fixes": []})
    assert found == code
    assert words in "\n".join(said)


def test_without_pip_audit_or_its_answer_nothing_was_looked_up(tmp_path: Path) -> None:
    code, said = run(str(tmp_path / "pip-audit"), ["numpy==2.0.0"])
    assert (code, said[0][:21]) == (2, "nothing was looked up")
    failing = tmp_path / "pip-audit"
    failing.write_text("#!/bin/sh\necho 'ConnectionError: no route to host' >&2\nexit 1\n")
    failing.chmod(0o755)
    code, said = run(str(failing), ["numpy==2.0.0"])
    assert code == 2
    assert "no route to host" in said[0]


def test_every_installed_package_is_asked_about() -> None:
    packages = installed()
    assert any(package.startswith("numpy==") for package in packages)
    assert not any("+" in package or package.startswith(PROJECT) for package in packages)
