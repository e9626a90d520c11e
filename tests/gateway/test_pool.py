# SPDX-License-Identifier: Apache-2.0
"""Several model servers: which one gets a request, and which one answers if that fails."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from serving_network.gateway import pool as pool_module
from serving_network.gateway import upstream as upstream_module
from serving_network.gateway.memory import Memory
from serving_network.gateway.pool import Pool
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.routes import Route
from serving_network.gateway.upstream import Upstream
from serving_network.gateway.upstreams import UpstreamSettings, read_upstreams
from tests.gateway.stage import Handler, ModelServer, events, model_server, plain, streaming

CLOSED = "http://127.0.0.1:9/v1"


@dataclass
class Servers:
    """A pool of model servers, and what happens in it."""

    pool: Pool
    models: list[ModelServer]
    memory: Memory

    async def ask(self, *, stream: bool = False) -> bytes:
        async with self.pool.ask(Route.CHAT, lambda _: b"{}", self.memory.share(), stream=stream) as answer:
            if answer.body is not None:
                return answer.body
            parts = []
            while part := await answer.packet():
                parts.append(part)
            return b"".join(parts)

    async def refused(self, *, stream: bool = False) -> RequestRefused:
        with pytest.raises(RequestRefused) as refused:
            await self.ask(stream=stream)
        return refused.value

    @property
    def asked(self) -> list[int]:
        return [len(one.seen) for one in self.models]


@asynccontextmanager
async def servers(
    *handlers: Handler | None, clock: Callable[[], float] | None = None, **settings: Any
) -> AsyncIterator[Servers]:
    """A pool; None is a server that cannot be reached."""
    async with AsyncExitStack() as held:
        models = [
            ModelServer(plain, CLOSED) if one is None else await held.enter_async_context(model_server(one))
            for one in handlers
        ]
        waiting = settings.pop("max_waiting", 64)
        pool = Pool(
            [UpstreamSettings(one.url, **settings) for one in models],
            max_waiting=waiting,
            clock=clock or time.monotonic,
        )
        await pool.open()
        try:
            found = Servers(pool, models, Memory())
            yield found
            assert [one.under_way for one in pool.health()] == [0] * len(models)
            assert not pool._queue
        finally:
            await pool.close()


def answering(status: int, headers: dict[str, str] | None = None) -> Handler:
    async def handle(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": f"status {status}"}}, status=status, headers=headers)

    return handle


async def reset(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    """Accept the request, and cut the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    """Begin to answer, and cut the connection before the first byte of a stream, or in the middle of a body."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    assert request.transport is not None
    request.transport.abort()
    return response


async def short(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    """Announce a longer body than is sent."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"{}")
    assert request.transport is not None
    request.transport.close()
    return response


async def compressed(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
    return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "handler", [None, reset, cut, short, compressed, *(answering(status) for status in (500, 503, 401, 302, 404, 429))]
)
def test_another_server_answers(handler: Handler | None, stream: bool) -> None:
    good = streaming(events()) if stream else plain

    async def run() -> None:
        async with servers(handler, good) as pool:
            for _ in range(2):
                assert await pool.ask(stream=stream)
            assert pool.asked[1] == 2

    asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_mistake_of_the_client_is_answered_once(status: int, stream: bool) -> None:
    async def run() -> None:
        async with servers(answering(status), answering(status)) as pool:
            refusal = await pool.refused(stream=stream)
            assert refusal.status == status
            assert refusal.body() == b'{"error": {"message": "status %d"}}' % status
            assert sum(pool.asked) == 1
            assert [one.failures for one in pool.pool.health()] == [0, 0]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("handlers", "status", "code"),
    [
        ([None, None], 502, "upstream_unreachable"),
        ([answering(500), answering(500)], 502, "upstream_failed"),
        ([answering(404), answering(405)], 404, "unknown_route"),
        ([answering(429, {"Retry-After": "7"}), answering(500)], 429, "upstream_refused"),
    ],
)
def test_if_no_server_answers_the_client_learns_why(handlers: list[Handler | None], status: int, code: str) -> None:
    async def run() -> None:
        async with servers(*handlers) as pool:
            refusal = await pool.refused()
            assert (refusal.status, refusal.code) == (status, code)
            assert refusal.retry_after == (7 if status == 429 else None)
            assert all(pool.asked) or handlers[0] is None

    asyncio.run(run())


@pytest.mark.parametrize(("name", "longest"), [("SILENCE_SECONDS", 900.0), ("LONGEST_SECONDS", 0.1)])
def test_a_request_that_takes_too_long_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch, name: str, longest: float
) -> None:
    monkeypatch.setattr(upstream_module, name, 0.1)

    async def stall(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def run() -> None:
        async with servers(stall, stall) as pool:
            pool.pool._longest = longest
            assert (await pool.refused()).code == "upstream_timeout"
            assert sum(pool.asked) == 1
            assert sum(one.failures for one in pool.pool.health()) == 1

    asyncio.run(run())


def test_requests_are_distributed_by_weight() -> None:
    release = asyncio.Event()

    async def held(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await release.wait()
        return await plain(request, body)

    async def run() -> None:
        async with AsyncExitStack() as stack:
            models = [await stack.enter_async_context(model_server(held)) for _ in range(3)]
            pool = Pool(
                [UpstreamSettings(one.url, weight=weight) for one, weight in zip(models, (3, 2, 1), strict=True)]
            )
            await pool.open()
            stack.push_async_callback(pool.close)
            found = Servers(pool, models, Memory())
            waiting = [asyncio.create_task(found.ask()) for _ in range(12)]
            while sum(found.asked) < 12:
                await asyncio.sleep(0.01)
            assert found.asked == [6, 4, 2]
            release.set()
            await asyncio.gather(*waiting)
            for _ in range(6):
                await found.ask()
            assert Counter(found.asked).total() == 3  # each was asked

    asyncio.run(run())


def test_a_server_that_fails_repeatedly_is_not_used_for_a_time() -> None:
    now = 0.0

    async def run() -> None:
        nonlocal now
        async with servers(answering(500), plain, clock=lambda: now) as pool:
            for _ in range(20):
                await pool.ask()
            assert pool.asked == [3, 20]
            assert [one.available for one in pool.pool.health()] == [False, True]
            now = 10.0
            pool.models[1].handle = answering(500)
            assert (await pool.refused()).status == 502
            assert pool.asked == [4, 21]
            assert pool.pool.health()[0].failures == 4
            now = 29.0
            assert not pool.pool.health()[0].available
            # It is still tried before a request fails, and used again at once if it works.
            pool.models[0].handle = plain
            await pool.ask()
            assert pool.pool.health()[0].available

    asyncio.run(run())


def test_the_regular_check_finds_a_server_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CHECK_SECONDS", 0.02)

    async def run() -> None:
        async with servers(None, plain) as pool:
            while pool.pool.health()[0].available:
                await asyncio.sleep(0.01)
            for _ in range(5):
                await pool.ask()
            assert pool.pool.health()[0].failures == 0
            pool.pool._servers[0].upstream = Upstream(UpstreamSettings(pool.models[1].url))
            while not pool.pool.health()[0].available:
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_requests_wait_for_their_turn_in_a_short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()
    at_once = most = 0

    async def held(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await release.wait()
        at_once -= 1
        return await plain(request, body)

    async def run() -> None:
        async with servers(held, max_concurrency=2, max_waiting=3) as pool:
            waiting = [asyncio.create_task(pool.ask()) for _ in range(5)]
            await asyncio.sleep(0.05)
            full = await pool.refused()
            assert (full.status, full.code, full.retry_after) == (503, "overloaded", 1)
            waiting[2].cancel()
            await asyncio.sleep(0)
            assert len(pool.pool._queue) == 2
            release.set()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert (pool.asked, most) == ([4], 2)
            assert await pool.ask()
            release.clear()
            monkeypatch.setattr(pool_module, "WAIT_SECONDS", 0.05)
            waiting = [asyncio.create_task(pool.ask()) for _ in range(2)]
            await asyncio.sleep(0.02)
            assert (await pool.refused()).code == "overloaded"
            release.set()
            await asyncio.gather(*waiting)

    asyncio.run(run())


def test_a_turn_that_comes_while_its_client_leaves_is_not_lost() -> None:
    release = asyncio.Event()

    async def held(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await release.wait()
        return await plain(request, body)

    async def run() -> None:
        async with servers(held, max_concurrency=1) as pool:
            first, second, third = (asyncio.create_task(pool.ask()) for _ in range(3))
            await asyncio.sleep(0.05)
            turn = pool.pool._queue[0].turn
            turn.add_done_callback(lambda _: second.cancel())
            release.set()
            assert await first
            with pytest.raises(asyncio.CancelledError):
                await second
            assert await third

    asyncio.run(run())


def test_a_whole_answer_is_read_within_the_memory_budget() -> None:
    async def long(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=bytes(1_000_000))

    async def run() -> None:
        async with servers(long, long) as pool:
            pool.memory = Memory(999_999)
            share = pool.memory.share()
            with pytest.raises(RequestRefused) as refused:
                async with pool.pool.ask(Route.CHAT, lambda _: b"{}", share, stream=False):
                    pass
            assert (refused.value.status, refused.value.code) == (503, "overloaded")
            assert sum(pool.asked) == 1
            share.free()
            assert pool.memory.used == 0

    asyncio.run(run())


def test_an_answer_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "MAX_ANSWER", 100_000)

    async def endless(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(10_000))

    async def run() -> None:
        async with servers(endless) as pool:
            assert (await pool.refused()).code == "upstream_failed"

    asyncio.run(run())


def test_the_settings_of_servers() -> None:
    (one,) = read_upstreams([{"url": "http://a:1/v1", "weight": 2, "headers": {"A": "b"}, "continuous_usage": True}])
    assert one == UpstreamSettings("http://a:1/v1", {"A": "b"}, 2, continuous_usage=True)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "upstreams is not a list of tables"),
        ([], "upstreams is not a list of tables"),
        ([{"url": "http://a/v1"}, {}], "upstreams, table 2: url missing"),
        ([{"url": "http://a/v1", "speed": 1}], "upstreams, table 1: speed unknown"),
        *(([{"url": one}], f"table 1: url cannot be {one}") for one in ("a", "ftp://a", "http://", 1, "http://[")),
        *(([{"url": "http://a", "weight": one}], f"table 1: weight cannot be {one}") for one in (0, -1, 1.5, True)),
        ([{"url": "http://a", "headers": {"A": "b\r\nC: d"}}], "headers cannot be"),
        ([{"url": "http://a", "headers": {"A\n": "b"}}], "headers cannot be"),
    ],
)  # fmt: skip
def test_settings_that_are_wrong(tables: Any, message: str) -> None:
    with pytest.raises(ValueError, match="upstreams") as error:
        read_upstreams(tables)
    assert message in str(error.value)
