# SPDX-License-Identifier: Apache-2.0
"""Listen for browsers while a block runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from serving_network.errors import ConfigurationError
from serving_network.explorer.web.application import Explorer
from serving_network.explorer.web.site import Source
from serving_network.untrusted import reason_of

_STOP_SECONDS = 1.0


@asynccontextmanager
async def served(
    source: Source, host: str = "127.0.0.1", port: int = 0, hosts: frozenset[str] = frozenset()
) -> AsyncIterator[str]:
    """Serve an explorer. Yields its URL. Raises ConfigurationError if the port is in use."""
    runner = web.AppRunner(Explorer(source, hosts).application(), access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigurationError(
                f"The explorer cannot listen on {host}:{port}.",
                cause=f"{reason_of(error)}.",
                next_step="Choose another --port.",
            ) from error
        warming = asyncio.ensure_future(asyncio.to_thread(source.warm_up))
        address, chosen = runner.addresses[0][:2]
        yield f"http://[{address}]:{chosen}" if ":" in address else f"http://{address}:{chosen}"
        await warming
    finally:
        await runner.cleanup()
