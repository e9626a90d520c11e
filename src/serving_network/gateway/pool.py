# SPDX-License-Identifier: Apache-2.0
"""The model servers of a gateway: which one gets a request, and what happens if it fails.

A request goes to the available server with the fewest requests under way for its weight. If that fails before a byte
of its answer was passed on, another one gets the request, each at most once. A server is unavailable while its regular
check fails, and for a time after several failures in a row. If none is available, all are tried: a server that
recovers is used at once.

If all servers have as many requests as they take, a request waits for its turn in a short queue.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from serving_network.gateway.memory import Share
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.routes import Route
from serving_network.gateway.upstream import LONGEST_SECONDS, Answer, Payload, Upstream, UpstreamRefused
from serving_network.gateway.upstreams import UpstreamSettings
from serving_network.tokenizing.tokenizer import load_tokenizer
from serving_network.untrusted import without_secrets

CHECK_SECONDS: Final = 5.0
FAILURES: Final = 3
"""The number of failures in a row that make a server unavailable."""
EJECTED_SECONDS: Final = 10.0
"""For how long; each further failure doubles it."""
MAX_EJECTED_SECONDS: Final = 300.0
MAX_WAITING: Final = 64
WAIT_SECONDS: Final = 5.0

_LOG = logging.getLogger("serving_network.gateway")


class Health(NamedTuple):
    """How a model server does. `failures` are those in a row."""

    url: str
    available: bool
    under_way: int
    failures: int


@dataclass(eq=False)
class _Server:
    upstream: Upstream
    under_way: int = 0
    failures: int = 0
    alive: bool = True
    ejected_until: float = float("-inf")
    chosen: int = 0

    @property
    def is_full(self) -> bool:
        return self.under_way >= self.upstream.settings.max_concurrency

    def is_available(self, now: float) -> bool:
        return self.alive and now >= self.ejected_until

    def load(self) -> tuple[float, int]:
        """What the next request is weighed by: the least goes first, among equals the one that waits longest."""
        return (self.under_way + 1) / self.upstream.settings.weight, self.chosen


@dataclass(eq=False)
class _Waiting:
    tried: Sequence[_Server]
    turn: asyncio.Future[_Server] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Asked:
    """The answer of a server, which has one request more until the block ends."""

    def __init__(self, pool: Pool, answer: Coroutine[None, None, tuple[_Server, Answer]]) -> None:
        self._pool = pool
        self._coming = answer

    async def __aenter__(self) -> Answer:
        self._server, self._answer = await self._coming
        return self._answer

    async def __aexit__(self, *_: object) -> None:
        self._answer.close()
        self._pool._give_back(self._server)


class Pool:
    """Distributes requests over model servers. Open it before it is used. `longest`: seconds for one request."""

    def __init__(
        self,
        servers: Sequence[UpstreamSettings],
        *,
        longest: float = LONGEST_SECONDS,
        max_waiting: int = MAX_WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        tokenizers = {path: load_tokenizer(Path(path)) for path in {one.tokenizer for one in servers} if path}
        self._servers = [_Server(Upstream(one, tokenizers.get(one.tokenizer or ""))) for one in servers]
        self._longest = longest
        self._max_waiting = max_waiting
        self._clock = clock
        self._queue: deque[_Waiting] = deque()
        self._count = 0
        self._watching: asyncio.Task[None] | None = None

    @property
    def upstreams(self) -> list[Upstream]:
        """The single servers."""
        return [one.upstream for one in self._servers]

    async def open(self) -> None:
        """Start checking the servers."""
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Close all connections."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        for upstream in self.upstreams:
            await upstream.close()

    def health(self) -> list[Health]:
        """How the servers do."""
        now = self._clock()
        return [
            Health(without_secrets(one.upstream.url), one.is_available(now), one.under_way, one.failures)
            for one in self._servers
        ]

    def ask(self, route: Route, payload: Callable[[Upstream], Payload], share: Share, *, stream: bool) -> Asked:
        """The answer of the first server that gives one. Raises RequestRefused if none does, or all are full."""
        return Asked(self, self._answer(route, payload, share, stream))

    async def _answer(
        self, route: Route, payload: Callable[[Upstream], Payload], share: Share, stream: bool
    ) -> tuple[_Server, Answer]:
        refusals: list[UpstreamRefused] = []
        tried: list[_Server] = []
        until = self._clock() + self._longest
        while True:
            server = await self._take(tried)
            try:
                answer = await server.upstream.ask(
                    route, payload(server.upstream), share, stream=stream, seconds=until - self._clock()
                )
            except UpstreamRefused as refusal:
                self._note(server, failed=refusal.failed)
                tried.append(server)
                refusals.append(refusal)
                self._give_back(server)
                if refusal.others and len(tried) < len(self._servers) and self._clock() < until:
                    continue
                raise _answer_to(refusals) from refusal
            except BaseException:
                self._give_back(server)
                raise
            self._note(server, failed=False)
            return server, answer

    # ---------------------------------------------------------------------------------------------- choice

    async def _take(self, tried: Sequence[_Server]) -> _Server:
        """A server with room for one more request. Raises RequestRefused with 503."""
        left = [one for one in self._servers if one not in tried]
        now = self._clock()
        available = [one for one in left if one.is_available(now)] or left
        free = [one for one in available if not one.is_full]
        if free:
            return self._count_on(min(free, key=_Server.load))
        if len(self._queue) >= self._max_waiting:
            raise _overloaded()
        waiting = _Waiting(tried)
        self._queue.append(waiting)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await asyncio.shield(waiting.turn)
        except BaseException as error:
            if waiting.turn.done():
                self._give_back(waiting.turn.result())
            else:
                self._queue.remove(waiting)
            if isinstance(error, TimeoutError):
                raise _overloaded() from None
            raise

    def _count_on(self, server: _Server) -> _Server:
        self._count += 1
        server.chosen = self._count
        server.under_way += 1
        return server

    def _give_back(self, server: _Server) -> None:
        """End a request at a server, and hand its place to the first in the queue that can use it."""
        server.under_way -= 1
        if server.is_full:
            return
        for waiting in self._queue:
            if server not in waiting.tried:
                self._queue.remove(waiting)
                waiting.turn.set_result(self._count_on(server))
                return

    # ---------------------------------------------------------------------------------------------- health

    def _note(self, server: _Server, *, failed: bool) -> None:
        if not failed:
            server.failures = 0
            server.ejected_until = float("-inf")
            return
        server.failures += 1
        if server.failures >= FAILURES:
            seconds = min(EJECTED_SECONDS * 2.0 ** min(server.failures - FAILURES, 10), MAX_EJECTED_SECONDS)
            server.ejected_until = self._clock() + seconds
            _LOG.warning(
                "%s failed %d times in a row; not used for %d s", _name(server), server.failures, round(seconds)
            )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await asyncio.gather(*(self._check(one) for one in self._servers))

    async def _check(self, server: _Server) -> None:
        alive = await server.upstream.is_alive()
        if alive != server.alive:
            server.alive = alive
            _LOG.warning("%s %s", _name(server), "answers again" if alive else "does not answer")


def _name(server: _Server) -> str:
    return f"The model server {without_secrets(server.upstream.url)}"


def _answer_to(refusals: Sequence[UpstreamRefused]) -> UpstreamRefused:
    """What the client gets if no server served it: to wait, if one of them asks for that, else the last reason."""
    return next((one for one in refusals if one.status == 429), refusals[-1])


def _overloaded() -> RequestRefused:
    return RequestRefused(
        503, "overloaded", "The model server has as many requests as it takes.", next_step="Try again."
    )
