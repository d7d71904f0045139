"""Where the runs are kept, and the command that shows them."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from harness.errors import TrackingError

SQLITE = "sqlite:///"
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"

LOOPBACK = "127.0.0.1"

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # the default of 7 waits four minutes for a server that is not there
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
"""What MLflow is told before it is imported, unless the user has said otherwise."""

SERVER = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # background workers for language-model jobs: eight processes that nothing here uses
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def store_uri(out: Path) -> str:
    """`MLFLOW_TRACKING_URI` if it is set, else an SQLite file in `out`, by its absolute path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or SQLITE + (out.resolve() / DATABASE).as_posix()


def artifact_location(uri: str) -> str | None:
    """The folder beside an SQLite store, as a file:// URI; None where the server decides."""
    if not uri.startswith(SQLITE):
        return None
    return (Path(uri.removeprefix(SQLITE)).resolve().parent / ARTIFACTS).as_uri()


def is_server(uri: str) -> bool:
    """Whether a tracking server keeps the store, so that there is nothing to serve here."""
    return uri.startswith(("http://", "https://", "databricks"))


def keep_quiet() -> None:
    """Set MLflow's own switches in this process; call before the first import of mlflow."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def make_store(uri: str) -> None:
    """Where there is no SQLite store yet, make one beside its place and put it there whole.

    A process that dies while MLflow writes the schema would leave a store that no later one can open.
    """
    path = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or path.exists():
        return
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / path.name
        MlflowClient(SQLITE + made.as_posix()).search_experiments()
        with suppress(FileExistsError):  # another run was first
            os.link(made, path)


def ui_command(out: Path, port: int, host: str = LOOPBACK) -> list[str]:
    """The command that serves the store of `out`; raises TrackingError where there is none or it is a server already.

    Run it with `ui_environment()`.
    """
    uri = store_uri(out)
    if is_server(uri):
        raise TrackingError(f"the runs are on a tracking server (MLFLOW_TRACKING_URI): open {uri} in a browser")
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise TrackingError(f"no MLflow store in {out.resolve()}: run a recipe with --out {out} first")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    if artifacts := artifact_location(uri):
        command += ["--artifacts-destination", artifacts]
    return [*command, "--host", host, "--port", str(port), "--workers", "1"]


def ui_environment() -> dict[str, str]:
    """This process's environment with what the server does not need switched off."""
    return {**SERVER, **os.environ}
