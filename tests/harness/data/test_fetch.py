"""A public repository fetched: whole or not at all, continued after a kill, compared with its digests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import fetch as fetching
from harness.data.dataset import DATASETS
from harness.data.fetch import MANIFEST, Fetched, Wanted, fetch
from harness.data.osie import Osie
from harness.errors import DataError
from harness.main import main
from harness.progress import Silent
from tests.harness.data.eye_trackers import osie_root

GAZE = "data/eye/fixations.mat"
PATHS = {f"{n}.jpg": [[(1.0, 2.0), (3.0, 4.0)], [(5.0, 6.0)]] for n in range(1001, 1008)}


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "core.autocrlf=false")
    return subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository in OSIE's layout, two commits; its attributes would change line ends on the way out."""
    folder = tmp_path_factory.mktemp("source")
    work = osie_root(folder / "work", PATHS)
    (work / "README.md").write_bytes(b"one\ntwo\n")
    (work / ".gitattributes").write_text("*.md text eol=crlf\n")
    (work / "noise.bin").write_bytes(np.random.default_rng(0).bytes(2_000_000))  # so that half of it can be stopped at
    git(work, "init", "-q", "-b", "main", ".")
    for message in ("first", "second"):
        (work / "LICENSE").write_text(message)
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", message)
    git(folder, "clone", "-q", "--bare", "work", "source.git")
    return folder / "source.git"


@pytest.fixture
def mine(source: Path, tmp_path: Path) -> Path:
    """A copy that a test may lose."""
    return Path(shutil.copytree(source, tmp_path / "mine.git"))


def get(source: Path, out: Path, **pins: Any) -> Fetched:
    return fetch(Wanted(str(source), GAZE, **pins), out, Silent())


def test_the_newest_commit_byte_for_byte_and_checked_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "osie"
    done = get(source, out)
    assert done.commit == git(source, "rev-parse", "HEAD").strip()
    assert (out / "LICENSE").read_text() == "second"
    assert (out / "README.md").read_bytes() == b"one\ntwo\n"
    assert done.sha256 == hashlib.sha256((out / GAZE).read_bytes()).hexdigest()
    document = json.loads((out / MANIFEST).read_text())
    assert set(document["files"]) == {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} - {MANIFEST}
    assert [path.name for path in tmp_path.iterdir()] == ["osie"]
    assert len(Osie(root=str(out)).read("train")) == 5
    assert get(source, out) == Fetched(done.commit, done.files, done.sha256, was_here=True)


def test_a_changed_or_lost_file_is_found(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "osie"
    get(source, out)
    with (out / "data/stimuli/1003.jpg").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"1003\.jpg: is not what was fetched"):
        get(source, out)
    (out / "data/stimuli/1003.jpg").unlink()
    with pytest.raises(DataError, match=r"1003\.jpg: is missing"):
        get(source, out)


def test_an_older_commit_by_its_digits(source: Path, tmp_path: Path) -> None:
    older = git(source, "rev-parse", "HEAD~1").strip()
    assert get(source, tmp_path / "osie", commit=older).commit == older
    assert (tmp_path / "osie" / "LICENSE").read_text() == "first"
    with pytest.raises(DataError, match=f"commit {older} is there, not 0000"):
        get(source, tmp_path / "osie", commit="0" * 40)


@pytest.mark.parametrize("pin", [{"commit": "0" * 40}, {"sha256": "0" * 64}])
def test_another_digest_is_refused_and_nothing_is_left(source: Path, tmp_path: Path, pin: dict[str, str]) -> None:
    with pytest.raises(DataError, match="0000"):
        get(source, tmp_path / "osie", **pin)
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_stays(source: Path, tmp_path: Path) -> None:
    (tmp_path / "osie").mkdir()
    (tmp_path / "osie" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        get(source, tmp_path / "osie")
    with pytest.raises(DataError, match=r"gone\.git: cannot be fetched: git fetch: fatal: .*; the same command tries"):
        get(tmp_path / "gone.git", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine.txt", "osie"]


def test_stopped_after_the_download_it_goes_on_without_the_source(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    out, partial = tmp_path / "osie", tmp_path / ".osie.partial"
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_checked", stop)
        with pytest.raises(KeyboardInterrupt):
            get(mine, out)
    assert not out.exists()
    # as a kill in the middle of the checkout leaves it
    (partial / "git" / "index.lock").write_text("")
    (partial / "tree" / GAZE).write_bytes(b"half")
    (partial / "tree" / "LICENSE").unlink()
    shutil.rmtree(mine)
    done = get(mine, out)
    assert (out / "LICENSE").read_text() == "second"
    assert done.sha256 == hashlib.sha256((out / GAZE).read_bytes()).hexdigest()
    assert not partial.exists()


def test_something_else_is_not_continued(mine: Path, tmp_path: Path) -> None:
    partial = tmp_path / ".osie.partial"
    (partial / "tree").mkdir(parents=True)
    (partial / "tree" / "stray.txt").write_text("of another time")
    get(mine, tmp_path / "osie")
    assert not (tmp_path / "osie" / "stray.txt").exists()


SLOW_SSH = """
import os, subprocess, sys, time
left = int(os.environ["BYTES"])
process = subprocess.Popen(["sh", "-c", sys.argv[-1]], stdout=subprocess.PIPE)
while chunk := os.read(process.stdout.fileno(), 65536):
    os.write(1, chunk[:left])
    left -= len(chunk)
    if left <= 0:
        time.sleep(300)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
@pytest.mark.slow
def test_killed_in_the_middle_of_the_download(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh.py").write_text(SLOW_SSH)
    url, out = f"ssh://somewhere{source}", tmp_path / "osie"
    command = [sys.executable, "-m", "harness", "data", "get", "osie", "--from", url, "--out", str(out)]
    environment = {"GIT_SSH_COMMAND": f"{sys.executable} {tmp_path / 'ssh.py'}", "GIT_SSH_VARIANT": "ssh"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    first = subprocess.Popen(command, env={**os.environ, **environment, "BYTES": "1000000"}, **quiet)
    packs = tmp_path / ".osie.partial" / "git" / "objects" / "pack"
    deadline = time.monotonic() + 100
    try:
        while not any(path.stat().st_size for path in packs.glob("tmp_pack_*")):
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.05)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert not out.exists()
    for name, value in {**environment, "BYTES": "1000000000"}.items():
        monkeypatch.setenv(name, value)
    assert not fetch(Wanted(url, GAZE), out, Silent()).was_here
    assert (out / "LICENSE").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["osie", "ssh.py"]


def test_the_known_repository_is_pinned() -> None:
    source = DATASETS.get("osie").source
    assert source is not None
    assert source.repository is not None
    assert len(source.repository.commit) == 40
    assert source.repository.gaze == GAZE


def test_the_command_says_terms_and_refuses_with_its_exit_code(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def salprobe(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["salprobe", "data", "get", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    out = tmp_path / "osie"
    assert salprobe("osie", "--from", str(source), "--out", str(out), "--sha256", "0" * 64) == DataError.exit_code == 3
    assert f"{GAZE}: sha256 is" in capsys.readouterr().err
    assert not out.exists()
    assert salprobe("osie", "--from", str(source), "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "licence: MIT" in said
    assert f"salprobe run osie-mat --set dataset.root={out}" in said
    assert salprobe("osie", "--out", str(out), "--commit", "12") == 2
    assert "hexadecimal digits" in capsys.readouterr().err
    for name, words in (("salicon", "salicon.net"), ("cat2000", "not stated by its authors"), ("folder", "not stated")):
        assert salprobe(name) == 3
        said = capsys.readouterr().out
        assert words in said
        assert "nothing was downloaded" in said
