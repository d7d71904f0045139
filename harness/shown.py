"""Names of files as they can be printed and stored anywhere: on Linux they are bytes, and not always text."""

from __future__ import annotations

from pathlib import Path


def shown(path: Path | str) -> str:
    """A path in one printable line: what is not printable or no text at all is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def shown_lines(text: str) -> str:
    """The same of a message, which may have several lines."""
    return "\n".join(map(shown, text.split("\n")))
