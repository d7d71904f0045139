from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backbones._download import cached_url, fetch_url, require_answer, url_cache
from harness.errors import WeightsError

CONTENT = b"weights" * 1000
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    served = tmp_path / "served"
    served.mkdir()
    (served / NAME).write_bytes(CONTENT)
    (served / "net-00000000.pth").write_bytes(CONTENT)
    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_fetches_once_and_again_when_the_copy_is_damaged(server: str) -> None:
    url = f"{server}/{NAME}"
    assert cached_url(url) is None
    assert fetch_url(url).read_bytes() == CONTENT
    assert cached_url(url) == url_cache(url)
    url_cache(url).write_bytes(CONTENT[:-1])
    assert cached_url(url) is None
    assert fetch_url(url).read_bytes() == CONTENT


def test_a_file_without_its_stated_hash_is_refused(server: str) -> None:
    with pytest.raises(WeightsError, match="invalid hash"):
        fetch_url(f"{server}/net-00000000.pth")
    assert not url_cache("net-00000000.pth").exists()


def test_an_absent_file_says_where_to_put_it(server: str) -> None:
    with pytest.raises(WeightsError, match=r"404.*or put the file at .*absent\.pth by hand"):
        fetch_url(f"{server}/absent.pth")


def test_a_server_that_never_answers_costs_no_more_than_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(WeightsError, match=r"127\.0\.0\.1 cannot be reached"):
            require_answer(f"http://127.0.0.1:{silent.getsockname()[1]}/x", within_s=0.3)
        assert time.monotonic() - started < 2
