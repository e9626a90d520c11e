# SPDX-License-Identifier: Apache-2.0
"""What browsers may do with a page, and which hosts a page is served for."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


_HOST: Final = re.compile(r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<plain>[^:\[\]]+))(?::[0-9]{1,5})?")


def is_served(host: str, names: Collection[str]) -> bool:
    """Whether pages are served for this Host header: an address, localhost, or one of these names.

    A site that lets its own name resolve to 127.0.0.1 could read the pages of a person who visits it otherwise.
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = (found["bracketed"] or found["plain"]).lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
