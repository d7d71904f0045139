"""Fetching checkpoint files, so that a machine without internet learns it within seconds, and never hangs."""

from __future__ import annotations

import hashlib
import logging
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch

from harness.errors import WeightsError

LOG = logging.getLogger("salprobe.backbones")
ANSWER_WITHIN_S = 6.0
STALLED_AFTER_S = 30.0


def url_cache(url: str) -> Path:
    """Where torch.hub and torchvision keep the file of that URL."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def cached_url(url: str) -> Path | None:
    """The file of that URL if it is here and has the hash that its name states."""
    path = url_cache(url)
    if not path.is_file():
        return None
    if not _file_sha256(path).startswith(_stated_hash(path) or ""):
        LOG.warning("%s is damaged (wrong SHA-256) and will not be used", path)
        return None
    return path


def fetch_url(url: str) -> Path:
    """The file of that URL, from the cache or downloaded and verified; raises WeightsError."""
    if path := cached_url(url):
        return path
    path = url_cache(url)
    require_answer(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _stalling_detected():
            torch.hub.download_url_to_file(url, str(path), hash_prefix=_stated_hash(path), progress=False)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"downloading {url} failed: {error}; or put the file at {path} by hand") from error
    return path


def cached_on_hub(repo: str, files: Sequence[str], revision: str | None) -> Path | None:
    """The first of these files of a Hugging Face repository that is in the local hub cache."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repo, file, revision=revision) for file in files)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def fetch_from_hub(repo: str, files: Sequence[str], revision: str | None) -> Path:
    """The first of these files that the Hugging Face repository has; raises WeightsError."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import EntryNotFoundError

    require_answer(f"{ENDPOINT}/{repo}")
    for file in files:
        try:
            return Path(hf_hub_download(repo, file, revision=revision))
        except EntryNotFoundError:
            continue
        except Exception as error:  # the client's errors share no base class across its versions
            raise WeightsError(f"downloading {file} of {repo} failed: {error}") from error
    raise WeightsError(f"{repo} on the Hugging Face hub has none of the files {', '.join(files)}")


def require_answer(url: str, within_s: float = ANSWER_WITHIN_S) -> None:
    """Raises WeightsError unless some server answers at `url` in time, whatever its answer."""
    if urlparse(url).scheme not in ("http", "https"):
        raise WeightsError(f"{url} is no address of a web server")
    outcome: list[str] = []

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=within_s).close()  # noqa: S310 - the scheme was looked at
        except HTTPError:
            pass
        except (OSError, ValueError) as error:
            outcome.append(str(getattr(error, "reason", error)))

    # a thread, because looking up a name takes as long as it takes; a daemon, because nobody waits for it then
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(within_s)
    if thread.is_alive():
        outcome.append(f"no answer within {within_s:g} s")
    if outcome:
        raise WeightsError(f"{urlparse(url).hostname} cannot be reached ({outcome[0]})")


@contextmanager
def _stalling_detected() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALLED_AFTER_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _stated_hash(path: Path) -> str | None:
    stated = re.search(r"-([0-9a-f]{8,})\.", path.name)
    return stated.group(1) if stated else None


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
