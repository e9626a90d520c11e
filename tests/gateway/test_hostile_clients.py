# SPDX-License-Identifier: Apache-2.0
"""Clients that leave, stall, flood or lie, over raw sockets. Each costs what was delivered, and holds nothing after.

Stage.gate checks after each test that nothing is reserved, held in memory or begun.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from serving_network.gateway import bodies, running, selling
from serving_network.gateway.delivery import Delivery
from serving_network.messages.receipts import Ending, SignedReceipt, Source
from serving_network.store.intake import Intake
from tests.gateway.stage import CHAT, Gate, Stage, completion, events, plain, streaming
from tests.gateway.streams import chunk, event

STREAM = CHAT | {"stream": True}


class Client:
    """A raw connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def of(gate: Gate, *, buffer: int | None = None) -> Client:
        """`buffer` is the size of the receive buffer in bytes."""
        parts = urlsplit(gate.running.url)
        connection = socket.socket()
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (parts.hostname, parts.port))
        return Client(*await asyncio.open_connection(sock=connection, limit=2**16 if buffer is None else buffer))

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def status(self) -> int:
        line = await asyncio.wait_for(self.reader.readline(), 10)
        return int(line.split()[1])

    def leave(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()


def request(token: str, body: dict[str, Any] | bytes = CHAT, *headers: str, length: int | None = None) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "Host: gateway",
        f"Authorization: {token}",
        "Content-Type: application/json",
        *([] if length == -1 else [f"Content-Length: {len(content) if length is None else length}"]),
        *headers,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


async def later_receipts(gate: Gate, token: str) -> list[SignedReceipt]:
    """The receipts once nothing is under way."""
    await gate.idle()
    return await gate.receipts(token)


@pytest.mark.parametrize("part", [10, 60, 200, -5])
def test_a_client_that_leaves_while_it_asks(stage: Stage, part: int) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate() as gate:
            for _ in range(5):
                client = await Client.of(gate)
                await client.send(request(token)[:part])
                await asyncio.sleep(0.02)
                client.leave()
            assert await later_receipts(gate, token) == []
            assert gate.model.seen == []
            assert (await gate.chat(token))[0] == 200

    asyncio.run(scenario())


def test_a_client_that_leaves_before_the_first_byte_of_a_stream_pays_nothing(stage: Stage) -> None:
    async def slow(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(slow) as gate:
            client = await Client.of(gate)
            await client.send(request(token, STREAM))
            while not gate.model.seen:
                await asyncio.sleep(0.01)
            client.leave()
            assert await later_receipts(gate, token) == []

    asyncio.run(scenario())


def test_a_client_that_leaves_before_a_whole_answer_pays_for_it_and_can_fetch_it(stage: Stage) -> None:
    release = asyncio.Event()

    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await release.wait()
        return await plain(request, body)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(slow) as gate:
            client = await Client.of(gate)
            await client.send(request(token))
            while not gate.model.seen:
                await asyncio.sleep(0.01)
            client.leave()
            await asyncio.sleep(0.05)
            release.set()
            (one,) = await later_receipts(gate, token)
            assert one.receipt.ending is Ending.COMPLETE
            kept = await gate.get(f"/v1/receipts/0x{one.receipt.id.hex()}/answer", token)
            assert kept == (200, completion())

    asyncio.run(scenario())


def test_a_client_that_leaves_while_the_row_is_stored_pays_for_the_last_packet(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is durable before the last byte leaves, so it says that this byte was delivered."""
    finishing, stored = asyncio.Event(), asyncio.Event()
    finish = Intake.finish

    async def slow(self: Intake, *given: Any, **named: Any) -> SignedReceipt | None:
        finishing.set()
        await stored.wait()
        return await finish(self, *given, **named)

    monkeypatch.setattr(Intake, "finish", slow)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(streaming(events())) as gate:
            client = await Client.of(gate)
            await client.send(request(token, STREAM))
            await finishing.wait()
            client.leave()
            await asyncio.sleep(0.05)
            stored.set()
            (one,) = await later_receipts(gate, token)
            assert (one.receipt.ending, one.receipt.output_tokens) == (Ending.COMPLETE, 5)
            assert one.disclosure is not None
            assert one.disclosure.length == sum(len(part) for part in events() if b"usage" not in part)

    asyncio.run(scenario())


def test_a_client_that_does_not_read_stops_the_model_server_and_is_cut(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selling, "CLIENT_SECONDS", 0.5)
    sent = 0

    async def endless(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        part = event(chunk("x" * 50_000))
        for _number in range(4000):
            await response.write(part)
            sent += len(part)
        return response

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(endless) as gate:
            client = await Client.of(gate, buffer=4096)
            await client.send(request(token, STREAM))
            while not gate.model.seen:
                await asyncio.sleep(0.01)
            (one,) = await later_receipts(gate, token)
            assert (one.receipt.ending, one.receipt.source) == (Ending.CUT_BY_CLIENT, Source.DELTAS)
            assert one.disclosure is not None
            assert 0 < one.receipt.output_tokens == one.disclosure.length // len(event(chunk("x" * 50_000)))
            assert sent < 20_000_000
            client.leave()

    asyncio.run(scenario())


def test_a_slow_reader_gets_everything(stage: Stage) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(streaming([*[event(chunk("x" * 20_000))] * 300, *events()])) as gate:
            client = await Client.of(gate, buffer=4096)
            await client.send(request(token, STREAM, "Connection: close"))
            got = b""
            while part := await client.reader.read(100_000):
                got += part
                await asyncio.sleep(0.0005)
            client.leave()
            assert got.endswith(b"0\r\n\r\n")
            (one,) = await later_receipts(gate, token)
            assert one.receipt.ending is Ending.COMPLETE

    asyncio.run(scenario())


def test_a_body_that_does_not_arrive(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PAUSE_SECONDS", 0.2)

    async def scenario() -> None:
        async with stage.gate() as gate:
            client = await Client.of(gate)
            await client.send(request(stage.token(), b'{"messages"', length=1000))
            assert await client.status() == 408
            client.leave()

    asyncio.run(scenario())


def test_a_client_that_asks_before_it_sends_its_body(stage: Stage) -> None:
    body = json.dumps(CHAT).encode()

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate() as gate:
            for asking, answer in ((token, 100), ("Bearer app-sk-none", 401)):
                client = await Client.of(gate)
                await client.send(request(asking, b"", "Expect: 100-continue", length=len(body)))
                assert await client.status() == answer
                if answer == 100:
                    assert await client.reader.readline() == b"\r\n"
                    await client.send(body)
                    assert await client.status() == 200
                client.leave()
            assert len(await later_receipts(gate, token)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: gate"], ids=["nothing", "half"])
def test_a_connection_without_a_request_is_closed(stage: Stage, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(running, "IDLE_SECONDS", 0.3)

    async def scenario() -> None:
        async with stage.gate() as gate:
            client = await Client.of(gate)
            await client.send(sent)
            assert await asyncio.wait_for(client.reader.read(), 10) == b""
            client.leave()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Header: " + "x" * 100_000],
        [f"X-Header-{number}: x" for number in range(50_000)],
        ["Transfer-Encoding: chunked"],
        ["Content-Length: 5"],
        ["Origin: a\rX-Injected: b"],
        ["Origin: a\nX-Injected: b"],
        ["Origin: a\0b"],
        ["X Y: z"],
    ],
    ids=["long", "many", "two lengths", "two equal lengths", "CR", "LF", "NUL", "space in a name"],
)
def test_headers_that_flood_or_smuggle(stage: Stage, headers: list[str]) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate() as gate:
            client = await Client.of(gate)
            client.writer.write(request(token, CHAT, *headers))
            answer = await asyncio.wait_for(client.reader.read(65_536), 10)
            assert b"X-Injected" not in answer.partition(b"\r\n\r\n")[0]
            status = answer.split(b" ", 2)[1]
            assert status == b"400" or (status == b"200" and headers[0].startswith("Origin: a\n"))
            client.leave()
            assert (await gate.chat(token))[0] == 200

    asyncio.run(scenario())


def test_a_token_is_not_read_beyond_its_length(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            for token in ("Bearer app-sk-" + "A" * 7000, "Bearer app-sk-%%%", "Bearer", "app-sk-"):
                client = await Client.of(gate)
                await client.send(request(token))
                assert await client.status() == 401
                client.leave()

    asyncio.run(scenario())


DEEP = b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
WIDE = b'{"messages":[' + b"[]," * 10_000_000 + b"[]]}"


@pytest.mark.parametrize(
    "body", [DEEP, WIDE, b"[" * 5_000_000, b"\xff" * 100, b"\0"], ids=["deep", "wide", "open", "not UTF-8", "NUL"]
)
def test_json_that_is_hard_to_read(stage: Stage, body: bytes) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            client = await Client.of(gate)
            await client.send(request(stage.token(), body))
            assert await client.status() == 400
            client.leave()

    asyncio.run(scenario())


def test_many_clients_that_leave_at_random(stage: Stage) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(streaming(events(20), pause=0.005)) as gate:

            async def one(number: int) -> None:
                client = await Client.of(gate)
                await client.send(request(token, STREAM if number % 3 else CHAT))
                await asyncio.sleep(number % 10 * 0.015)
                client.leave()

            await asyncio.gather(*(one(number) for number in range(40)))
            receipts = await later_receipts(gate, token)
            assert all(one.receipt.output_tokens <= 20 for one in receipts)
            gate.model.handle = plain
            assert (await gate.chat(token))[0] == 200

    asyncio.run(scenario())


def test_a_long_body_does_not_stop_others(stage: Stage) -> None:
    body = json.dumps(CHAT | {"messages": [{"role": "user", "content": "Hi"}] * 100_000}).encode()

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate() as gate:
            client = await Client.of(gate)
            await client.send(request(token, body))
            waiting = asyncio.create_task(client.status())
            answered = 0
            while not waiting.done():
                assert (await gate.get("/healthz"))[0] == 200
                answered += 1
                await asyncio.sleep(0.005)
            assert await waiting == 200
            assert answered > 10
            client.leave()

    asyncio.run(scenario())


def test_a_long_answer_is_in_the_memory_budget_until_it_is_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selling, "CLIENT_SECONDS", 1.0)
    size = 8 * 2**20

    async def long(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion(text="x" * size))

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(long, memory_mib=12) as gate:
            assert gate.seller is not None
            client = await Client.of(gate, buffer=4096)
            await client.send(request(token))
            while gate.seller._memory.used < size or gate.seller._admission.reserved:
                await asyncio.sleep(0.01)
            (one,) = await gate.receipts(token)
            assert one.receipt.ending is Ending.COMPLETE
            # There is no room for another one, nor for handing out the first again, until this client is cut.
            assert (await gate.chat(token))[0] == 503
            assert (await gate.get(f"/v1/receipts/0x{one.receipt.id.hex()}/answer", token))[0] == 503
            await gate.idle()
            assert (await gate.get(f"/v1/receipts/0x{one.receipt.id.hex()}/answer", token))[0] == 200
            client.leave()

    asyncio.run(scenario())


def test_what_was_delivered_is_billed_if_the_gateway_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Delivery.feed

    def fails(self: Delivery, packet: bytes) -> list[bytes]:
        if b"stop" in packet:
            raise ZeroDivisionError
        return feed(self, packet)

    monkeypatch.setattr(Delivery, "feed", fails)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(streaming(events(), pause=0.01)) as gate:
            client = await Client.of(gate)
            await client.send(request(token, STREAM))
            assert await client.status() == 200
            while await client.reader.read(1000):
                pass
            client.leave()
            (one,) = await later_receipts(gate, token)
            assert (one.receipt.ending, one.receipt.output_tokens) == (Ending.CUT_BY_UPSTREAM, 5)

    asyncio.run(scenario())
