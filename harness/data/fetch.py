"""A dataset's repository on this machine: fetched once, continued where it broke off, checked whenever it is asked for.

The files of one commit are written beside their place, compared with the commit's own digests, and moved there in one
step, with a manifest (commit, sha256 of every file).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data._git import Git
from harness.data._replacing_folder import check_replaceable, write_manifest
from harness.data._root import leaves_folder
from harness.errors import DataError

if TYPE_CHECKING:
    from harness.progress import Progress

MANIFEST = "fetched.json"
_FETCHED, _WANTED = "refs/salprobe/fetched", "salprobe.wanted"
_LINK_TO_REPOSITORY = "160000"
_PIECE = 2**20


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched."""

    url: str
    gaze: str
    """The file with the gaze."""
    commit: str | None = None
    """40 (or 64) hexadecimal digits; None: the newest."""
    sha256: str | None = None
    """What the gaze's file must have."""


@dataclass(frozen=True)
class Fetched:
    """What is there."""

    commit: str
    files: int
    sha256: str
    """Of the gaze's file."""
    was_here: bool


def fetch(wanted: Wanted, out: Path, progress: Progress) -> Fetched:
    """The repository's files in `out`; raises DataError where they cannot be had, or are not what they should be."""
    partial = out.with_name(f".{out.name}.partial")
    if (out / MANIFEST).is_file():
        found = _verified(wanted, out, progress)
        shutil.rmtree(partial, ignore_errors=True)
        return found
    check_replaceable(out, MANIFEST, overwrite=False)
    try:
        return _fetched(wanted, out, partial, progress)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}; choose another --out") from error


def _fetched(wanted: Wanted, out: Path, partial: Path, progress: Progress) -> Fetched:
    git = _repository(wanted, partial, progress)
    if not git.has(_FETCHED):
        _download(git, wanted, partial, progress)
    commit = git.run("rev-parse", f"{_FETCHED}^{{commit}}").strip()
    git.run("checkout", "-q", "-f", "--detach", _FETCHED)
    try:
        digests = _checked(git, progress)
        _check_pins(wanted, commit, digests)
    except DataError:
        shutil.rmtree(partial, ignore_errors=True)  # what is wrong would only be found wrong again
        raise
    write_manifest(git.tree, MANIFEST, {"url": wanted.url, "commit": commit, "files": digests})
    git.tree.rename(out)
    shutil.rmtree(partial, ignore_errors=True)
    return Fetched(commit, len(digests), digests[wanted.gaze], was_here=False)


def _download(git: Git, wanted: Wanted, partial: Path, progress: Progress) -> None:
    try:
        with progress.phase(f"fetching {wanted.url}", 100, "%") as bar:
            git.fetch(wanted.url, wanted.commit or "HEAD", bar)
    except DataError as error:
        shutil.rmtree(partial, ignore_errors=True)  # git cannot go on with half of a commit
        raise DataError(f"{wanted.url}: cannot be fetched: {error}; the same command tries again") from error
    git.run("update-ref", _FETCHED, "FETCH_HEAD")


def _repository(wanted: Wanted, partial: Path, progress: Progress) -> Git:
    """The one that an earlier attempt at the same left, or a new one."""
    git, asked = Git(partial), f"{wanted.commit or 'HEAD'} {wanted.url}"
    if partial.exists():
        git.unlock()
        if git.config(_WANTED) == asked:
            progress.say(f"continuing what is in {partial}")
            return git
        shutil.rmtree(partial)
    git.start()
    git.run("config", _WANTED, asked)
    return git


def _checked(git: Git, progress: Progress) -> dict[str, str]:
    """sha256 by path of every file; raises DataError for one that is not what the commit says."""
    listing = git.run("ls-tree", "-r", "-z", _FETCHED)
    entries = [line.partition("\t") for line in listing.split("\0") if line]
    files = [(path, facts.split()[2]) for facts, _, path in entries if not facts.startswith(_LINK_TO_REPOSITORY)]
    digests = {}
    with progress.phase("checking digests", len(files), "files") as bar:
        for path, blob in files:
            found, digests[path] = _digests(git.tree / path, "sha1" if len(blob) == 40 else "sha256")
            if found != blob:
                raise DataError(f"{path}: is not what the commit says; run the command again")
            bar.advance(1)
    return digests


def _digests(file: Path, kind: str) -> tuple[str, str]:
    """(git's own digest, sha256) of a file; memory holds a piece of it at a time."""
    own, sha256 = hashlib.new(kind, b"blob %d\0" % file.stat().st_size), hashlib.sha256()
    with file.open("rb") as handle:
        while piece := handle.read(_PIECE):
            own.update(piece)
            sha256.update(piece)
    return own.hexdigest(), sha256.hexdigest()


def _verified(wanted: Wanted, out: Path, progress: Progress) -> Fetched:
    """What an earlier command fetched, compared with its manifest."""
    commit, digests = _read_manifest(out)
    again = f"remove {out} and get it again"
    with progress.phase("checking digests", len(digests), "files") as bar:
        for path, sha256 in digests.items():
            file = out / path
            if not file.is_file():
                raise DataError(f"{file}: is missing; {again}")
            with file.open("rb") as handle:
                if hashlib.file_digest(handle, "sha256").hexdigest() != sha256:
                    raise DataError(f"{file}: is not what was fetched (commit {commit}); {again}")
            bar.advance(1)
    _check_pins(wanted, commit, digests)
    return Fetched(commit, len(digests), digests[wanted.gaze], was_here=True)


def _read_manifest(out: Path) -> tuple[str, dict[str, str]]:
    try:
        document: dict[str, Any] = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        files = {str(path): str(digest) for path, digest in document["files"].items()}
        if strange := next(filter(leaves_folder, files), None):
            raise ValueError(f"it lists {strange!r}")
        return str(document["commit"]), files
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{out / MANIFEST}: cannot be read ({error}); remove {out} and get it again") from error


def _check_pins(wanted: Wanted, commit: str, digests: dict[str, str]) -> None:
    if wanted.commit is not None and commit != wanted.commit:
        raise DataError(f"{wanted.url}: commit {commit} is there, not {wanted.commit}; choose that one, or a new --out")
    if wanted.gaze not in digests:
        raise DataError(f"{wanted.url} at {commit}: has no {wanted.gaze}")
    if wanted.sha256 is not None and digests[wanted.gaze] != wanted.sha256:
        raise DataError(f"{wanted.gaze}: sha256 is {digests[wanted.gaze]}, not {wanted.sha256}; it is not taken")
