# SPDX-License-Identifier: Apache-2.0
"""A page as its elements, for tests that look at all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

BLOCKS = frozenset({"dt", "dd", "td", "th", "div", "p", "small", "li", "h1", "h2", "header", "summary"})
VOID = frozenset({"input", "link", "meta", "br", "rect", "circle", "path"})


@dataclass
class Element:
    """An element, its attributes and the text right inside it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Document(HTMLParser):
    """The elements of a page in their order. Raises AssertionError where tags are not closed in order."""

    elements: list[Element] = field(default_factory=list)
    text: str = ""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements, self.text = [], ""
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {[one.tag for one in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(found)
        self.text += " " if tag in BLOCKS else ""
        if tag not in VOID:
            self._open.append(found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        self.text += " " if tag in BLOCKS else ""
        assert self._open, f"closes what is not open: {tag}"
        assert self._open[-1].tag == tag, f"{tag} closes {self._open[-1]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open:
            self._open[-1].text += data

    def all(self, *tags: str) -> list[Element]:
        """The elements with these tags."""
        return [one for one in self.elements if one.tag in tags]
