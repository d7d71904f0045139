"""`salprobe ui`: says what is in the store and where to look at it, and serves it."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import TrackingError
from harness.tracking.matrices import StoredMatrix, stored_matrices
from harness.tracking.store import LOOPBACK, is_server, store_uri, ui_command, ui_environment
from harness.tracking.views import search_link, view_link

if TYPE_CHECKING:
    from rich.console import Console

OPEN = (
    "warning: on {host} everybody who reaches this machine can read, change and delete the runs: MLflow asks for no "
    "password; an SSH tunnel to the default, ssh -L 5000:127.0.0.1:5000 THIS_MACHINE, shows them to you alone"
)


def start_ui(out: Path, port: int, console: Console, host: str = LOOPBACK) -> int:
    """Print a link for every matrix, then serve the store in the foreground until it is stopped; the exit code.

    On another `host` than this machine's own it says who can get at the store then.
    Where MLFLOW_TRACKING_URI names a server the links go there and nothing is served. Raises TrackingError where there
    is no store.
    """
    uri = store_uri(out)
    if is_server(uri):
        show_links(uri, uri, console)
        return 0
    base = f"http://{address(host)}:{port}"
    command = ui_command(out, port, host)
    if not is_loopback(host):
        console.print(OPEN.format(host=host), style="yellow", highlight=False, soft_wrap=True)
    show_links(uri, base, console)
    console.print(f"MLflow UI on {base} (stop it with Ctrl-C)", highlight=False, soft_wrap=True)
    return _serve(command)


def _serve(command: list[str]) -> int:
    """Until the server ends, with its exit code, or this process is told to: then all processes of the server are."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = subprocess.Popen(command, env=ui_environment(), start_new_session=True)
    try:
        return server.wait()
    except KeyboardInterrupt:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def is_loopback(host: str) -> bool:
    """Whether only this machine gets in there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(host: str) -> str:
    """The host as it stands in a link; one that means every address is this machine for those who sit at it."""
    named = {"0.0.0.0": LOOPBACK, "::": LOOPBACK}.get(host, host)  # noqa: S104 - compared with, not bound to
    return f"[{named}]" if ":" in named else named


def show_links(uri: str, base: str, console: Console) -> None:
    """A paragraph for every matrix of the store; raises TrackingError where it cannot be read."""
    try:
        matrices = stored_matrices(uri)
    except Exception as error:  # whatever MLflow, its database or its server may throw
        raise TrackingError(f"the MLflow store {uri} cannot be read: {type(error).__name__}: {error}") from error
    for matrix in matrices:
        for line in paragraph(matrix, base):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def paragraph(matrix: StoredMatrix, base: str) -> list[str]:
    """Recipe, dataset, counts, best cell, links."""
    view, failed = matrix.view, f", {matrix.failed} failed" if matrix.failed else ""
    return [
        f"{view.recipe} on {view.dataset} (matrix {view.matrix}): {matrix.cells} cells{failed}",
        *([f"  best:   {matrix.best}"] if matrix.best else []),
        f"  table:  {view_link(base, matrix.experiment, view.matrix)}",
        f"  charts: {view_link(base, matrix.experiment, view.matrix, charts=True)}",
        f"  search: {search_link(base, matrix.experiment, view)}",
        "",
    ]
