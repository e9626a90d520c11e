# SPDX-License-Identifier: Apache-2.0
"""Addresses in paths, and the pages that they stand for."""

from __future__ import annotations

from eth_utils import is_hex_address, to_checksum_address
from markupsafe import Markup

from serving_network.explorer.web.page import Missing, Moved
from serving_network.explorer.web.view import View
from serving_network.untrusted import printable

PAGES = {"user": "user", "provider": "provider", "service": "contract", "contract": "contract"}
"""The page for each kind of hit of a search that is an address."""


def checked(text: str) -> str:
    """The address in a path, with its checksum. Raises Missing."""
    if not (text.startswith("0x") and is_hex_address(text)):
        raise Missing(f"{printable(text, most=80)} is not an address: 0x and 40 hexadecimal digits.")
    return to_checksum_address(text)


def whole(value: str) -> Markup:
    """A whole address or hash, for a heading."""
    return Markup('<span class="mono" data-copy="{0}">{0}</span>').format(value)


def address(view: View, text: str) -> Moved:
    """The page that says most about an address. Raises Missing."""
    found = checked(text)
    kinds = [one.kind for one in view.reader.search(found)]
    if not kinds:
        raise Missing(f"No event of this network names {found}.")
    first = min(kinds, key=list(PAGES).index)
    return Moved(f"/{PAGES['provider' if 'provider' in kinds else first]}/{found}")
