# SPDX-License-Identifier: Apache-2.0
"""A gateway in a thread, for tests of programs that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from tests.gateway.stage import Gate, Handler, Stage, plain

T = TypeVar("T")


@contextmanager
def in_background(resource: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Hold an asynchronous resource open in a thread of its own while the block runs."""
    loop, stop, started = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    held: list[T] = []

    async def hold() -> None:
        async with resource as one:
            held.append(one)
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(hold())
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        started.wait()
        yield held[0]
    finally:
        if held:
            loop.call_soon_threadsafe(stop.set)
        thread.join()


@contextmanager
def gateway(stage: Stage, handle: Handler = plain, **settings: Any) -> Iterator[Gate]:
    """A gateway whose URL the provider has registered."""
    with in_background(stage.gate(handle, **settings)) as gate:
        stage.world.provider.update(stage.world.offer(url=gate.running.url))
        yield gate
