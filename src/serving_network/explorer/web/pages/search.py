# SPDX-License-Identifier: Apache-2.0
"""The search: by address, name, transaction or block. A single result opens at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from serving_network.explorer.web.cells import Kind, Link
from serving_network.explorer.web.page import Moved, Page
from serving_network.explorer.web.pages.addresses import PAGES
from serving_network.explorer.web.tables import Column, Listed, Order, Row, Table
from serving_network.explorer.web.view import View
from serving_network.untrusted import printable

LONGEST: Final = 200
_PATHS: Final = PAGES | {"transaction": "transaction", "block": "block"}
_TITLES: Final = {"service": "service contract"}
_COLUMNS: Final = (
    Column("what", "What", Kind.TEXT),
    Column("found", "Found", Kind.LINK),
    Column("name", "Name", Kind.TEXT),
)


def search(view: View, query: Mapping[str, str]) -> Page | Moved:
    """What was searched for, or the page of the only thing that was found."""
    wanted = query.get("q", "").strip()[:LONGEST]
    rows = _rows(view, wanted) if wanted else []
    if len({row[1].path for row in rows}) == 1:
        return Moved(rows[0][1].path)
    return Page(
        "Search",
        kicker="Search",
        heading=printable(wanted, most=80) if wanted else "What are you looking for?",
        searched=wanted,
        tables=[
            Table(
                "results",
                "Results",
                _COLUMNS,
                Listed(rows, _COLUMNS),
                Order("what", falling=False),
                empty="Nothing on this network has this address, name, hash or number. Names of providers and users are"
                " those of your address book, which you extend with:",
                next_step="serving address add NAME 0x...",
            )
        ],
    )


def _rows(view: View, wanted: str) -> list[Row]:
    named = {name: address for name, address in view.addresses.items() if wanted.casefold() in name.casefold()}
    rows: list[Row] = []
    for name, address in named.items():
        rows.append(["address book", Link(_short(address), f"/address/{address}"), name])
    for one in view.lists.search(wanted):
        label = "" if one.label == one.key else one.label
        rows.append([_TITLES.get(one.kind, one.kind), Link(_short(one.key), f"/{_PATHS[one.kind]}/{one.key}"), label])
    return rows


def _short(key: str) -> str:
    return f"{key[:10]}…{key[-6:]}" if len(key) > 20 else key
