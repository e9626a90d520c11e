# SPDX-License-Identifier: Apache-2.0
"""Addresses in paths, and the pages that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from markupsafe import Markup

from serving_network.addresses import is_hex_address, to_checksum_address
from serving_network.explorer.web.cells import Kind, Link
from serving_network.explorer.web.page import Missing, Moved, Page
from serving_network.explorer.web.tables import Column, Listed, Order, Table
from serving_network.explorer.web.view import View
from serving_network.untrusted import printable

PAGES: Final = {"user": "user", "provider": "provider", "service": "contract", "contract": "contract"}
"""The page for each kind of hit of a search that is an address."""
_ROLES: Final = {"signer": "TEE signer of", "owner": "owner of", "pending_owner": "offered to own"}
_MOST: Final = 500
_MENTIONS: Final = (Column("what", "Is", Kind.WORD), Column("of", "Of", Kind.LINK))
_SENT: Final = (
    Column("time", "Time", Kind.TIME),
    Column("function", "Function", Kind.WORD),
    Column("contract", "To", Kind.WORD),
    Column("transaction", "Transaction", Kind.TRANSACTION, sortable=False),
)


def checked(text: str) -> str:
    """The address in a path, with its checksum. Raises Missing."""
    if not (text.startswith("0x") and is_hex_address(text)):
        raise Missing(f"{printable(text, most=80)} is not an address: 0x and 40 hexadecimal digits.")
    return to_checksum_address(text)


def whole(value: str, addresses: Mapping[str, str] | None = None) -> Markup:
    """A whole address or hash, for a heading; an address with its name in the address book, if it has one."""
    named = [name for name, address in (addresses or {}).items() if address == value]
    name = Markup("<bdi>{}</bdi> ").format(printable(named[0], most=60)) if named else ""
    kind = "address" if is_hex_address(value) else "hash"
    return Markup('{0}<span class="mono {1}" data-copy="{2}">{2}</span>').format(name, kind, value)


def address(view: View, text: str) -> Page | Moved:
    """The page that says most about an address, or what names it. Raises Missing."""
    found = checked(text)
    kinds = [one.kind for one in view.reader.search(found)]
    if kinds:
        first = "provider" if "provider" in kinds else kinds[0]
        return Moved(f"/{PAGES[first]}/{found}")
    mentions = view.lists.mentions(found)
    sent = view.reader.transactions(sender=found, limit=_MOST).entries
    if not mentions and not sent:
        raise Missing(f"Nothing on this network names {found}.")
    roles = [
        [
            _ROLES.get(one.what, one.what.replace("_", " ")),
            Link(one.of or one.address, f"/{PAGES[one.kind]}/{one.address}"),
        ]
        for one in mentions
    ]
    rows = [[one.at.time, one.function, one.contract_name, one.hash] for one in sent]
    return Page(
        f"Address {found[:8]}",
        kicker="Address",
        heading=whole(found, view.addresses),
        tables=[
            Table("roles", "Roles", _MENTIONS, Listed(roles, _MENTIONS), Order("what", falling=False), "No role."),
            Table("sent", "Transactions", _SENT, Listed(rows, _SENT), Order("time", falling=True), "Sent none."),
        ],
    )
