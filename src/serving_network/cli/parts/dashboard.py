# SPDX-License-Identifier: Apache-2.0
"""A gateway's dashboard in the explorer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from serving_network.explorer.web.site import gateway_pages
from serving_network.store.location import Location


def dashboard(journal: Location) -> dict[Any, Any]:
    """The pages of the gateway on this store."""
    return gateway_pages(journal, partial(_status, journal))


def _status(journal: Location) -> dict[str, Any] | None:
    """What the gateway says of itself, or None if it does not run. Runs in a thread without a loop."""
    from serving_network.gateway.control import GatewayNotRunning, ask_gateway

    try:
        return asyncio.run(ask_gateway(journal, "GET", "/status"))
    except GatewayNotRunning:
        return None
