"""Reads a page as strictly as the standard library can: every tag closed, every id once, headings in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "link", "img", "input", "br", "hr"}
HEADINGS = ("h1", "h2", "h3", "h4")


@dataclass
class Element:
    """A tag as it was opened, with all the text within it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """`elements` are in the order of their opening; parsing fails on a tag that is not closed in its turn."""

    source: str
    elements: list[Element] = field(default_factory=list)
    _open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.source)
        self.close()
        assert not self._open, [element.tag for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of that tag with these attributes (class_ for class)."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [e for e in self.elements if e.tag == tag and wanted.items() <= e.attributes.items()]

    def check(self) -> None:
        """Fails for a repeated id, a link to none, a skipped heading, a picture without words."""
        ids = [e.attributes["id"] for e in self.elements if "id" in e.attributes]
        assert len(ids) == len(set(ids))
        for element in self.elements:
            for name in ("href", "xlink:href"):
                target = element.attributes.get(name, "#")
                assert target in ("#", "data:,") or target.removeprefix("#") in ids, target
        levels = [HEADINGS.index(e.tag) for e in self.elements if e.tag in HEADINGS]
        assert levels[0] == 0
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert all(e.attributes["alt"].strip() for e in self.all("img"))
        assert all(e.attributes["aria-label"].strip() for e in self.all("svg"))

    def _add(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))
