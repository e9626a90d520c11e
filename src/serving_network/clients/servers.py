# SPDX-License-Identifier: Apache-2.0
"""HTTP to servers that providers registered. None of them may be on the user's own machine or network.

A provider chooses its URL, and a name can resolve to any address, so each connection is checked when it is opened. On a
local chain all addresses are allowed.
"""

from __future__ import annotations

import socket
from errno import EACCES
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import aiohttp

from serving_network.chains import LOCAL_CHAIN

if TYPE_CHECKING:
    from aiohttp import AddrInfoType


def provider_session(chain_id: int, **options: Any) -> aiohttp.ClientSession:
    """A session for requests to providers of this chain: no cookies, no proxy, no decompression."""
    connector = aiohttp.TCPConnector(limit=0, socket_factory=None if chain_id == LOCAL_CHAIN else _public_socket)
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), **options
    )


def _public_socket(address: AddrInfoType) -> socket.socket:
    """A socket for a public address. Raises OSError for any other."""
    family, kind, protocol, _, where = address
    host = str(where[0])
    if not ip_address(host.partition("%")[0]).is_global:
        raise PermissionError(EACCES, f"{host} is in a private network, and the provider chose it")
    return socket.socket(family, kind, protocol)
