# SPDX-License-Identifier: Apache-2.0
"""Keep an index up to date beside what reads it: in a thread, so that pages do not wait for the follower."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from serving_network.explorer.index.following import Follower
from serving_network.explorer.index.opening import Subject, writing
from serving_network.files import RunInProgress

if TYPE_CHECKING:
    from serving_network.chain.reading import AsyncReader
    from serving_network.store.location import Location

_LOG = logging.getLogger("serving_network.explorer")

OpenChain = Callable[[], Awaitable["AsyncReader"]]
"""Opens a connection that reads a chain."""


@asynccontextmanager
async def kept_up(index: Location, subject: Subject, open_chain: OpenChain, every: float) -> AsyncIterator[bool]:
    """Follow the chain into the index while the block runs. Yields False if another process does so already.

    The block begins once the index exists. Raises IndexFailure and NodeFailure if it cannot be followed.
    """
    keeper = _Keeper(asyncio.get_running_loop())

    async def follow() -> None:
        async with await open_chain() as chain:
            with writing(index, subject) as db:
                follower = Follower(db, chain, subject.ledger)
                await follower.look()
                keeper.tell(following=True)
                await follower.follow(every)

    thread = threading.Thread(target=keeper.run, args=(follow,), name="index", daemon=True)
    thread.start()
    try:
        yield await keeper.started
    finally:
        keeper.stop()
        await asyncio.to_thread(thread.join)


class _Keeper:
    """Runs a follower in a thread with an event loop of its own, and tells the first loop how that began."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.started: asyncio.Future[bool] = loop.create_future()
        self._loop = loop
        self._own = asyncio.new_event_loop()
        self._stopping = asyncio.Event()

    def run(self, follow: Callable[[], Awaitable[None]]) -> None:
        try:
            self._own.run_until_complete(self._until_stopped(follow))
        except RunInProgress:
            self.tell(following=False)
        except Exception as error:  # noqa: BLE001 - it ends this thread; who waits for the start gets it
            _LOG.exception("The index is not followed any more.")
            self.tell(following=False, error=error)
        finally:
            self._own.close()

    async def _until_stopped(self, follow: Callable[[], Awaitable[None]]) -> None:
        work = asyncio.ensure_future(follow())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for one in (work, stopping):
            one.cancel()
        results = await asyncio.gather(work, stopping, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    def tell(self, *, following: bool, error: Exception | None = None) -> None:
        """Say once whether this process follows the chain, or why it cannot."""

        def once() -> None:
            if not self.started.done():
                self.started.set_result(following) if error is None else self.started.set_exception(error)

        self._loop.call_soon_threadsafe(once)

    def stop(self) -> None:
        """End the thread soon."""
        if not self._own.is_closed():
            self._own.call_soon_threadsafe(self._stopping.set)
