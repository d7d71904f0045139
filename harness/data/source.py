"""Where a dataset comes from: whom to cite, under which licence it may be used, how one gets it. Readers carry it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Repository:
    """A public git repository that holds a whole dataset and may be cloned."""

    url: str
    commit: str
    """The commit that is fetched: 40 hexadecimal digits, a digest of everything in it."""
    gaze: str
    """The file with the gaze, whose sha256 `salprobe data get --sha256` pins."""
    recipe: str
    """The packaged recipe that reads it."""


@dataclass(frozen=True)
class Source:
    """How a dataset is cited, under which licence its authors give it, its home."""

    citation: str
    licence: str
    home: str
    obtain: str = ""
    """What to download there, and how to lay it out."""
    repository: Repository | None = None
    """Where it may be fetched from without asking anybody."""

    @property
    def stated(self) -> dict[str, str]:
        """What is shown and recorded wherever the data are: citation, licence, home."""
        return {"citation": self.citation, "licence": self.licence, "home": self.home}


OWN = Source(
    citation="not stated: somebody's own recordings",
    licence="not stated: ask whoever recorded them",
    home="this machine",
)
"""Of data in a general layout: nobody but their owner knows; a recipe may say `cite: osie`."""
