"""Plugins that a test registers, gone when it is over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness._backbone import BACKBONES
from harness._probe import PROBES
from harness.data.dataset import DATASETS
from harness.metric_registry import METRICS
from harness.plugin_files import PREFIX


@contextmanager
def forgotten() -> Iterator[None]:
    """Registries and modules of plugin files are afterwards what they were before."""
    registries: list[Any] = [PROBES, BACKBONES, DATASETS, METRICS]
    before = [dict(registry._registered) for registry in registries]
    yield
    for registry, was in zip(registries, before, strict=True):
        registry._registered.clear()
        registry._registered.update(was)
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]
