"""Whose an error is: what a plugin raises becomes a declared error that names the plugin, its file and line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import NO_ROOM, CellTimeoutError, PluginError, SalprobeError
from harness.plugin_files import place_of

log = logging.getLogger("salprobe")


def in_words(error: Exception) -> str:
    """The error as the row of a cell has it, with the line of the plugin file it came from, if from one."""
    if isinstance(error, CellTimeoutError):
        return str(error)
    return f"{type(error).__name__}: {error}{place_of(error)}"


def message_of(error: Exception) -> str:
    """A declared error's own words, which say where; of any other what it is as well."""
    return str(error) if isinstance(error, SalprobeError) else in_words(error)


@contextmanager
def blaming(what: str, kind: type[SalprobeError] = PluginError) -> Iterator[None]:
    """What is not declared becomes an error of this kind, "what: KeyError: 'c' (mine.py, line 9)".

    Not what is about memory or a full disk: that is nobody's fault, and there are those who know what to do.
    """
    try:
        yield
    except SalprobeError:
        raise
    except Exception as error:
        if is_about_memory(error) or (isinstance(error, OSError) and error.errno in NO_ROOM):
            raise
        log.debug("%s failed", what, exc_info=error)
        raise kind(f"{what}: {in_words(error)}") from error


def is_about_memory(error: Exception) -> bool:
    """Torch says it in RuntimeErrors: a device's is called one of memory, the CPU allocator's is not."""
    said = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said
