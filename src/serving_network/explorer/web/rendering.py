# SPDX-License-Identifier: Apache-2.0
"""Pages as HTML. Templates escape every value that is not HTML already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from serving_network.explorer.web.cells import Kind, Names, Tone, short_amount, shown
from serving_network.explorer.web.page import Page
from serving_network.explorer.web.tables import show

TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that pages load. Its address changes with its content, so browsers may keep it."""

    content: bytes
    content_type: str
    version: str


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the navigation."""

    key: str
    title: str
    path: str


@dataclass(frozen=True, slots=True)
class Site:
    """What all pages show: the network, and how far the index has read it."""

    name: str
    chain_id: int
    sections: tuple[Section, ...]
    status: str
    tone: Tone
    head_key: str
    block_time: int | None


class Renderer:
    """Renders pages with the names of the reader's address book."""

    def __init__(self, names: Names) -> None:
        self.static = {
            one.name: _static(one.name, one.read_bytes()) for one in _static_folder() if _is_static(one.name)
        }
        self._templates = Environment(
            loader=PackageLoader("serving_network.explorer.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._names = names

    def page(self, page: Page, site: Site, path: str, query: Mapping[str, str]) -> str:
        """A page, with its tables sorted and paged as the query asks."""
        values = {name: getattr(page, name) for name in page.__slots__} | {
            "tables": [show(one, path, query) for one in page.tables]
        }
        return self._render("page.html", site, values)

    def missing(self, site: Site, status: int, title: str, message: str) -> str:
        """A page that says why there is no page."""
        values = {"title": title, "message": message, "status": status, "section": "", "plots": (), "searched": ""}
        return self._render("missing.html", site, values)

    def _render(self, template: str, site: Site, values: Mapping[str, Any]) -> str:
        functions: dict[str, Callable[..., Any]] = {
            "shown": self._shown,
            "short_amount": short_amount,
            "static": self._static_path,
        }
        return self._templates.get_template(template).render(**functions, site=site, **values)

    def _shown(self, kind: Kind | str, value: Any) -> Markup:
        return shown(Kind(kind), value, self._names)

    def _static_path(self, name: str) -> str:
        return f"/static/{self.static[name].version}/{name}"


def _static_folder() -> Any:
    return files("serving_network.explorer.web").joinpath("static").iterdir()


def _is_static(name: str) -> bool:
    return f".{name.rpartition('.')[2]}" in TYPES


def _static(name: str, content: bytes) -> StaticFile:
    return StaticFile(content, TYPES[f".{name.rpartition('.')[2]}"], sha256(content).hexdigest()[:12])
