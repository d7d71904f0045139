"""git from Python: no questions asked, no hanging, its progress as a bar, its last words as the error."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import DataError

if TYPE_CHECKING:
    from harness.progress import Bar

_PERCENT = re.compile(r"^(?:Receiving|Unpacking) objects:\s+(\d+)%")
_OF_ANOTHER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")
"""Set where this runs inside a hook of another repository."""
_SETTINGS = {
    "core.autocrlf": "false",
    "core.symlinks": "false",
    "core.hooksPath": os.devnull,
    "fetch.unpackLimit": "1",  # one pack, written once, whose progress git shows
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}


class Git:
    """A repository in `folder`/git whose files are in `folder`/tree."""

    def __init__(self, folder: Path) -> None:
        self.repository, self.tree = folder / "git", folder / "tree"

    def start(self) -> None:
        """Make both; files will be the bytes that were committed, whatever the repository's attributes say."""
        self.tree.mkdir(parents=True, exist_ok=True)
        self.run("init", "-q", "--bare", "--template=", str(self.repository))
        self.run("config", "core.bare", "false")
        (self.repository / "info").mkdir(exist_ok=True)
        (self.repository / "info" / "attributes").write_text("* -text -filter -ident -working-tree-encoding\n")

    def unlock(self) -> None:
        """Remove the locks and halves that a killed git left."""
        for left in [*self.repository.rglob("*.lock"), *self.repository.glob("objects/pack/tmp_*")]:
            left.unlink(missing_ok=True)

    def config(self, key: str) -> str | None:
        """A value that was set; None without one, or without a repository."""
        done = self._process("config", "--get", key)
        words, _ = done.communicate()
        return words.strip() if done.returncode == 0 else None

    def has(self, revision: str) -> bool:
        """Whether there is such a commit."""
        done = self._process("rev-parse", "-q", "--verify", f"{revision}^{{commit}}")
        done.communicate()
        return done.returncode == 0

    def run(self, *arguments: str) -> str:
        """What it prints; raises DataError with its last words."""
        done = self._process(*arguments)
        words, errors = done.communicate()
        _check(done.returncode, arguments, errors.splitlines())
        return words

    def fetch(self, url: str, revision: str, bar: Bar) -> None:
        """The files of one commit, without its history, as FETCH_HEAD; `bar` advances by percent."""
        arguments = ("fetch", "--progress", "--depth", "1", "--no-tags", "--", url, revision)
        process, done, last = self._process(*arguments), 0, deque[str](maxlen=20)
        assert process.stderr is not None
        try:
            for line in process.stderr:  # a carriage return ends a line, too
                if found := _PERCENT.match(line):
                    bar.advance(int(found[1]) - done)
                    done = int(found[1])
                else:
                    last.append(line.strip())
            process.communicate()
        finally:
            process.kill()
            process.wait()
        _check(process.returncode, arguments, list(last))
        bar.advance(100 - done)  # of few objects git shows nothing

    def _process(self, *arguments: str) -> subprocess.Popen[str]:
        settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
        where = [] if arguments[0] == "init" else [f"--git-dir={self.repository}", f"--work-tree={self.tree}"]
        program = shutil.which("git")
        if program is None:
            raise DataError("git is needed and not on this machine: install it, or clone the repository")
        return subprocess.Popen(
            [program, *settings, *where, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            env=_environment(),
        )


def _environment() -> Mapping[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in _OF_ANOTHER}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh", "LC_ALL": "C"}


def _check(code: int, arguments: tuple[str, ...], words: list[str]) -> None:
    if code:
        said = [line for line in words if line.startswith(("fatal:", "error:"))] or words[-1:] or [f"exit code {code}"]
        raise DataError(f"git {arguments[0]}: {'; '.join(said)}")
