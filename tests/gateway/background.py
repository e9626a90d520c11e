# SPDX-License-Identifier: Apache-2.0
"""A gateway in a thread, for tests of programs that block; the provider has registered its URL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.gateway.stage import Gate, Handler, Stage, plain


@contextmanager
def gateway(stage: Stage, handle: Handler = plain, **settings: Any) -> Iterator[Gate]:
    """Serve while the block runs."""
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    held: list[Gate] = []

    async def serve() -> None:
        async with stage.gate(handle, **settings) as gate:
            held.append(gate)
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        started.wait()
        stage.world.provider.update(stage.world.offer(url=held[0].running.url))
        yield held[0]
    finally:
        if held:
            loop.call_soon_threadsafe(stop.set)
        thread.join()
