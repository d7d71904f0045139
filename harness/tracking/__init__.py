"""MLflow, an observer of results: absent, full or broken it costs the tracking, not the run."""

from harness.tracking.observer import MlflowObserver
from harness.tracking.store import store_uri, ui_command, ui_environment

__all__ = ["MlflowObserver", "store_uri", "ui_command", "ui_environment"]
