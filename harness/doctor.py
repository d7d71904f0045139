"""`salprobe doctor`: is everything here that a run needs?"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from harness._backbone import BACKBONES
from harness._probe import PROBES
from harness.data.dataset import DATASETS
from harness.environment import PACKAGES, describe_environment, installed
from harness.errors import SalprobeError
from harness.metric_registry import METRICS
from harness.paths import cache_folder

MARKS = {"ok": "[green]ok[/green]  ", "note": "[yellow]note[/yellow]", "bad": "[red]bad[/red] "}


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    state: Literal["ok", "note", "bad"]
    text: str


def show(out: Path) -> int:
    """Print all findings; 1 if something is bad, else 0."""
    console = Console()
    bad = 0
    for finding in examine(out):
        console.print(f"{MARKS[finding.state]}  {finding.text}", highlight=False, soft_wrap=True)
        bad += finding.state == "bad"
    return int(bad > 0)


def examine(out: Path) -> Iterator[Finding]:
    """Versions, devices, weights, plugins, folders."""
    yield from _versions()
    yield from _devices()
    yield from _weights()
    yield from _plugins()
    yield _writable(cache_folder("."), "cache")
    yield _writable(out, "results and MLflow store")


def _versions() -> Iterator[Finding]:
    environment = describe_environment()
    yield Finding("ok", f"Python {environment['python']} on {environment['platform']}")
    for package in PACKAGES:
        version = installed(package)
        yield Finding("ok", f"{package} {version}") if version else Finding("bad", f"{package} is not installed")
    if environment["git_commit"]:
        state = "with local changes" if environment["git_dirty"] else "clean"
        yield Finding("ok", f"commit {environment['git_commit'][:12]}, {state}")


def _devices() -> Iterator[Finding]:
    yield Finding("ok", f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield Finding("note", "no CUDA device: runs use the CPU")
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield Finding("ok", f"cuda:{index}: {torch.cuda.get_device_name(index)}, {memory:.0f} GiB")


def _weights() -> Iterator[Finding]:
    cls = BACKBONES.get("resnet50")
    for value in ("imagenet1k_v1", "imagenet1k_v2", "caffe"):
        found = cls(weights=value).find_weights()  # type: ignore[call-arg]
        if found:
            yield Finding("ok", f"resnet50 weights {value}: here, sha256 {found.sha256[:12]}")
        else:
            how = "fetched when a recipe asks for them"
            if value == "caffe" and shutil.which("npm") is None:
                how = "and npm, which fetches them, is not installed (it comes with Node.js)"
            yield Finding("note", f"resnet50 weights {value}: not here, {how}")


def _plugins() -> Iterator[Finding]:
    for registry in (PROBES, BACKBONES, DATASETS, METRICS):
        for name in registry.names():
            try:
                registry.get(name)
            except SalprobeError as error:
                yield Finding("bad", str(error))
        yield Finding("ok", f"{registry.kind}s: {', '.join(registry.names())}")


def _writable(folder: Path, what: str) -> Finding:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding("bad", f"{what}: {folder.absolute()} is not writable ({error})")
    return Finding("ok", f"{what}: {folder.absolute()} is writable")
