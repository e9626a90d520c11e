# SPDX-License-Identifier: Apache-2.0
"""Connections to model servers that answer with exactly these bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from serving_network.gateway.connections import BUFFER, MAX_HEAD, ConnectionFailed, Connections, Response
from serving_network.gateway.memory import Memory
from serving_network.gateway.routes import Route
from serving_network.gateway.upstream import Upstream
from serving_network.gateway.upstreams import UpstreamSettings

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nhello"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Scene(NamedTuple):
    url: str
    connections: Connections
    accepted: list[asyncio.StreamWriter]

    async def ask(self, body: bytes = b"{}") -> Response:
        return await self.connections.ask(self.connections.head("POST", "/x"), body, seconds=20, silence=20)

    async def whole(self) -> bytes:
        response = await self.ask()
        try:
            return await read(response)
        finally:
            response.close()


async def read(response: Response) -> bytes:
    data = b""
    while part := await response.packet():
        data += part
    return data


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    await reader.readexactly(int(length[15:]))
    return head


@asynccontextmanager
async def serving(serve: Serve, keep_seconds: float = 60) -> AsyncIterator[Scene]:
    accepted: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        connections = Connections(url, {}, keep_seconds=keep_seconds, connect_seconds=5)
        try:
            yield Scene(url, connections, accepted)
        finally:
            await connections.close()


def answering(answer: bytes, *, end: bool = False, reset: bool = False) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(answer)
            await writer.drain()
            if reset:
                await asyncio.sleep(0.05)  # the reset would overtake what is not read yet
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            if end or reset:
                return

    return serve


def test_a_connection_serves_one_request_after_the_other() -> None:
    async def scenario() -> None:
        async with serving(answering(HELLO), keep_seconds=0.2) as scene:
            assert [await scene.whole() for _ in range(3)] == [b"hello"] * 3
            assert len(scene.accepted) == 1
            while scene.connections._idle:
                await asyncio.sleep(0.05)
            assert await scene.whole() == b"hello"
            assert len(scene.accepted) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [HELLO + HELLO, HELLO + b"x", HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")],
    ids=["two answers", "rubbish", "close"],
)
def test_a_connection_is_not_used_again_after_more_than_was_asked(answer: bytes) -> None:
    async def scenario() -> None:
        async with serving(answering(answer)) as scene:
            assert [await scene.whole() for _ in range(2)] == [b"hello"] * 2
            assert len(scene.accepted) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("serve", "whole"),
    [
        (answering(CHUNKED + b"0\r\n\r\n"), True),
        (answering(ENDLESS, end=True), True),
        (answering(b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO), True),
        (answering(CHUNKED, end=True), False),
        (answering(CHUNKED + b"zz\r\n"), False),
        (answering(HELLO.replace(b"5", b"9"), end=True), False),
        (answering(ENDLESS, reset=True), False),
    ],
    ids=["chunked", "until the end", "continue", "cut chunks", "bad chunk", "short", "reset"],
)
def test_a_body_that_breaks_is_no_whole_body(serve: Serve, whole: bool) -> None:
    """Also if it breaks while nobody waits for it."""

    async def scenario() -> None:
        async with serving(serve) as scene:
            response = await scene.ask()
            while not response._ended and response._failure is None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            if whole:
                assert await read(response) == b"hello"
            else:
                with pytest.raises(ConnectionFailed):
                    await read(response)
            response.close()

    asyncio.run(scenario())


def test_a_body_that_stalls_is_no_whole_body() -> None:
    async def scenario() -> None:
        async with serving(answering(ENDLESS)) as scene:
            head = scene.connections.head("POST", "/x")
            response = await scene.connections.ask(head, b"", seconds=20, silence=0.1)
            while response.is_usable or scene.connections._open:
                await asyncio.sleep(0.01)
            with pytest.raises(TimeoutError):
                await read(response)
            response.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-x\r\n", HELLO.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * MAX_HEAD + b"\r\n\r\n"), b""],
    ids=["no HTTP", "a long head", "nothing"],
)
def test_an_answer_without_a_head_is_a_failure(answer: bytes) -> None:
    async def scenario() -> None:
        async with serving(answering(answer, end=True)) as scene:
            with pytest.raises(ConnectionFailed):
                await scene.ask()

    asyncio.run(scenario())


def test_no_more_than_the_buffer_is_read_ahead() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * BUFFER))
        writer.write(bytes(64 * BUFFER))
        await reader.read()

    async def scenario() -> None:
        async with serving(serve) as scene:
            response = await scene.ask()
            while response._reading:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert response._buffered < 3 * BUFFER
            assert len(await read(response)) == 64 * BUFFER
            response.close()

    asyncio.run(scenario())


def test_an_answer_ends_an_upload_that_the_server_does_not_read() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(5)

    async def scenario() -> None:
        async with serving(serve) as scene:
            response = await scene.ask(bytes(2**25))
            assert response.status == 413
            response.close()
            assert not scene.connections._idle

    asyncio.run(scenario())


def test_closing_an_answer_twice_does_not_end_the_next_one() -> None:
    more = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(HELLO)
        await request(reader)
        writer.write(HELLO[:-2])
        await more.wait()
        writer.write(HELLO[-2:])
        await reader.read()

    async def scenario() -> None:
        async with serving(serve) as scene:
            upstream = Upstream(UpstreamSettings(scene.url))
            first = await upstream.ask(Route.CHAT, b"{}", Memory().share(), stream=False)
            first.close()
            second = asyncio.create_task(upstream.ask(Route.CHAT, b"{}", Memory().share(), stream=False))
            await asyncio.sleep(0.05)
            first.close()
            more.set()
            answer = await second
            assert answer.body == b"hello"
            answer.close()
            await upstream.close()
            assert len(scene.accepted) == 1

    asyncio.run(scenario())


def test_the_headers_of_a_request() -> None:
    given = {"X-Key": "k", "User-Agent": "mine", "content-length": "7", "Host": "other"}
    connections = Connections("http://me:p%40ss@[::1]:8000/a b/v1", given, keep_seconds=1, connect_seconds=1)
    head = connections.head("POST", "/chat", {"content-type": "application/json"}).decode().split("\r\n")
    assert head[0] == "POST /a%20b/v1/chat HTTP/1.1"
    assert sorted(head[1:-1]) == [
        "accept-encoding: identity",
        "accept: */*",
        "authorization: Basic bWU6cEBzcw==",
        "content-type: application/json",
        "host: other",
        "user-agent: mine",
        "x-key: k",
    ]
    plain = Connections("https://[::1]:8000", {}, keep_seconds=1, connect_seconds=1)
    assert b"\r\nhost: [::1]:8000\r\n" in plain.head("GET", "/models")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://127.0.0.1:99999", "http://", "http://[::1"]
)
def test_a_url_that_names_no_server(url: str) -> None:
    async def scenario() -> None:
        connections = Connections(url, {}, keep_seconds=1, connect_seconds=1)
        with pytest.raises(ConnectionFailed, match="names no server"):
            await connections.ask(connections.head("GET", "/models"), b"", seconds=1, silence=1)

    asyncio.run(scenario())
