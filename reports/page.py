"""The page: everything put into the template, one file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.figures import Drawn, inline
from reports.gallery import Gallery
from reports.palette import inferno
from reports.table import Table


@dataclass(frozen=True)
class Facts:
    """What is said of one run beside its numbers."""

    name: str
    recipe: str
    dataset: str
    synthetic: bool
    cells: str
    answer: list[str]
    unfinished: list[tuple[str, str, str]]
    """(cell, status, reason)."""
    warnings: list[tuple[str, str]]
    provenance: list[tuple[str, str]]
    command: str
    yaml: str
    gallery: Gallery


@dataclass(frozen=True)
class Section:
    """A kind of figure: (the run's name or nothing, figure) each."""

    name: str
    title: str
    figures: list[tuple[str, Drawn]]
    without: str


@dataclass(frozen=True)
class Page:
    """`doubts` say why runs should not be compared, `duels` how their best cells compare."""

    title: str
    by: str
    runs: list[Facts]
    doubts: list[str]
    duels: list[str]
    table: Table
    sections: list[Section]


def render(page: Page) -> str:
    """The page as HTML; whatever stands in a name is text, never markup."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = lambda drawn: Markup(inline(drawn))  # noqa: S704 - matplotlib escapes the texts within
    return environment.get_template("report.html.j2").render(page=page, scale=inferno())
