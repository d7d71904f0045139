"""The command line in this process: what it says, and its exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from harness.main import main
from tests.plugins import forgotten

SMALL: dict[str, Any] = {
    "backbones": [{"name": "own_net"}],
    "layers": ["1"],
    "metrics": ["cc"],
    "pictures": 0,
    "save_every_s": 60,
}
"""What makes the matrix of `interrupted.py` a second's work."""


@dataclass
class Said:
    code: int
    text: str
    """On one line."""


class Command(Protocol):
    def __call__(self, *arguments: object) -> Said: ...


@pytest.fixture
def salprobe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command; it never answers with a traceback."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def command(*arguments: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["salprobe", *map(str, arguments)])
        with forgotten(), pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        text = " ".join((said.out + said.err).split())
        assert "Traceback" not in text
        return Said(int(end.value.code or 0), text)

    return command
