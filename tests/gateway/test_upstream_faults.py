# SPDX-License-Identifier: Apache-2.0
"""Model servers as they are: every way to report usage, and every fault, with what it costs the user.

Stage.gate checks after each test that nothing is reserved, held in memory or begun.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web

from serving_network.gateway import upstream as upstream_module
from serving_network.gateway.probes import reports_continuously
from serving_network.gateway.requests import Terms, read_request
from serving_network.gateway.routes import Route
from serving_network.gateway.upstream import Upstream
from serving_network.gateway.upstreams import UpstreamSettings
from serving_network.messages.receipts import Ending, Source
from tests.gateway.stage import CHAT, Gate, Handler, Stage, completion, events, model_server
from tests.gateway.streams import SERVERS, chunk, event, usage_chunk, used, without_usage_chunk

STREAM = CHAT | {"stream": True}


class Bill(NamedTuple):
    """What a receipt says."""

    ending: Ending
    source: Source
    input: int
    output: int


async def bills(gate: Gate, token: str) -> list[Bill]:
    return [
        Bill(one.receipt.ending, one.receipt.source, one.receipt.input_tokens, one.receipt.output_tokens)
        for one in await gate.receipts(token)
    ]


async def until_cut(answer: aiohttp.ClientResponse) -> bytes:
    """What arrives of an answer that is cut."""
    got = b""
    try:
        while part := await answer.content.readany():
            got += part
    except aiohttp.ClientPayloadError:
        return got
    raise AssertionError("The answer is not cut.")


def packets(parts: Sequence[bytes | float], *, cut: bool = False) -> Handler:
    """Send a stream in exactly these packets; a number is a pause in seconds.

    A stream that is `cut` ends without its end. A reset would discard what the gateway has not read yet.
    """

    async def handle(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            if isinstance(part, bytes):
                await response.write(part)
            await asyncio.sleep(part if isinstance(part, float) else 0.005)
        if cut:
            assert request.transport is not None
            request.transport.close() if parts else request.transport.abort()
        return response

    return handle


def answering(status: int) -> Handler:
    async def handle(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=status)

    return handle


def whole(body: bytes, headers: dict[str, str] | None = None) -> Handler:
    """Send this body, and close the connection even if the announced length is another."""

    async def handle(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        sent = {"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})
        response = web.StreamResponse(headers=sent)
        await response.prepare(request)
        await response.write(body)
        assert request.transport is not None
        request.transport.close()
        return response

    return handle


@pytest.mark.parametrize("server", SERVERS)
def test_every_server_is_billed_by_its_usage(stage: Stage, server: str) -> None:
    """One event over several packets, several in one, and each in its own; asked for usage and not."""
    parts = SERVERS[server]
    data = b"".join(parts)
    cuts: list[list[bytes]] = [
        parts,
        [data],
        [data[start : start + 23] for start in range(0, len(data), 23)],
        [b"".join(parts[:3]) + parts[3][:7], parts[3][7:], *parts[4:]],
    ]

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate() as gate:
            for cut in cuts:
                for asked in (False, True):
                    gate.model.handle = packets(cut)
                    options = {"stream_options": {"include_usage": True}} if asked else {}
                    status, delivered, _ = await gate.post("/v1/chat/completions", token, STREAM | options)
                    assert status == 200
                    assert delivered == b"".join(parts if asked else without_usage_chunk(parts))
            assert await bills(gate, token) == [Bill(Ending.COMPLETE, Source.USAGE, 12, 3)] * 8

    asyncio.run(scenario())


DELTAS = [event(chunk(word)) for word in ("Hi", " there", " you")]
FINISH = event(chunk("", "stop"))
COMPLETE, CUT = Ending.COMPLETE, Ending.CUT_BY_UPSTREAM
ABSURD = {"prompt_tokens": 10**9, "completion_tokens": 10**9}
INPUT_BOUND = read_request(Route.CHAT, json.dumps(STREAM).encode(), Terms("model-1")).bounds.input


@pytest.mark.parametrize(
    ("parts", "bill"),
    [
        # No usage at all: one token for each event with text.
        ([*DELTAS, FINISH, event("[DONE]")], Bill(COMPLETE, Source.DELTAS, 0, 3)),
        ([*DELTAS, FINISH], Bill(COMPLETE, Source.DELTAS, 0, 3)),
        # A usage that cannot be right counts as none.
        *(
            ([*DELTAS, FINISH, event(usage_chunk() | {"usage": usage}), event("[DONE]")],
             Bill(COMPLETE, Source.DELTAS, 0, 3))
            for usage in (
                {"prompt_tokens": 0, "completion_tokens": 0}, used(-1), used(2**60), {"prompt_tokens": "12"}, {},
            )
        ),
        ([*DELTAS, FINISH, b'data: {"choices":[],"usage":' + b'{"a":' * 5000 + b"}" * 5000 + b"}\n\n"],
         Bill(COMPLETE, Source.DELTAS, 0, 3)),
        # An absurd usage costs what was reserved, and no more.
        ([*DELTAS, FINISH, event(usage_chunk() | {"usage": ABSURD})], Bill(COMPLETE, Source.USAGE, INPUT_BOUND, 256)),
        # An error in the middle, an end without a reason, and nothing but comments.
        ([*DELTAS, event({"error": {"message": "overloaded"}})], Bill(CUT, Source.DELTAS, 0, 3)),
        (DELTAS, Bill(CUT, Source.DELTAS, 0, 3)),
        ([b": keep-alive\n\n", 0.05, b": keep-alive\n\n"], Bill(CUT, Source.USAGE, 0, 0)),
        # Usage before the cut counts as it is.
        ([event(chunk("Hi", usage=used(1))), DELTAS[1]], Bill(CUT, Source.USAGE, 12, 1)),
        # Neither an event of a megabyte nor bytes that are no events are a problem.
        ([event(chunk("x" * 2**20)), FINISH, event(usage_chunk())], Bill(COMPLETE, Source.USAGE, 12, 3)),
        ([bytes(range(256)) * 100, *DELTAS, FINISH, event(usage_chunk())], Bill(COMPLETE, Source.USAGE, 12, 3)),
    ],
)  # fmt: skip
def test_a_stream_that_ends_oddly(stage: Stage, parts: list[bytes | float], bill: Bill) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(packets(parts)) as gate:
            status, _, headers = await gate.post("/v1/chat/completions", token, STREAM)
            assert status == 200
            assert await bills(gate, token) == [bill]
            assert (await gate.get(f"/v1/signature/{headers['ZG-Res-Key']}"))[0] == 200

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "handler",
    [packets([*DELTAS, 30.0]), packets(DELTAS, cut=True), packets([*DELTAS, b'data: {"choices":[{"del'], cut=True)],
    ids=["stalls", "ends", "ends in an event"],
)
def test_a_stream_that_the_server_breaks(stage: Stage, handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(handler) as gate:
            monkeypatch.setattr(upstream_module, "SILENCE_SECONDS", 2.0)
            with pytest.raises(aiohttp.ClientPayloadError):
                await gate.post("/v1/chat/completions", token, STREAM)
            await gate.idle()
            assert await bills(gate, token) == [Bill(CUT, Source.DELTAS, 0, 3)]

    asyncio.run(scenario())


def test_a_server_that_keeps_the_connection_after_done(stage: Stage) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(packets([*events(), 30.0])) as gate, asyncio.timeout(10):
            status, delivered, _ = await gate.post("/v1/chat/completions", token, STREAM)
            assert status == 200
            assert delivered.endswith(b"[DONE]\n\n")
            assert await bills(gate, token) == [Bill(COMPLETE, Source.USAGE, 12, 5)]

    asyncio.run(scenario())


LONG = json.dumps(completion()).encode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (packets([30.0]), "upstream_timeout"),
        (packets([], cut=True), "upstream_failed"),
        (whole(LONG, {"Content-Length": str(len(LONG) + 1)}), "upstream_failed"),
        (whole(LONG, {"Content-Length": str(len(LONG) - 5)}), "not_metered"),
        (whole(b"<html>", {"Content-Type": "text/html"}), "not_metered"),
        (whole(b""), "not_metered"),
        (whole(b'{"choices":' * 20_000), "not_metered"),
        (whole(json.dumps(completion(used(-1))).encode()), "not_metered"),
        (whole(json.dumps(completion({"prompt_tokens": 0, "completion_tokens": 0})).encode()), "not_metered"),
        (whole(LONG, {"Content-Encoding": "gzip"}), "upstream_failed"),
    ],
)
def test_an_answer_that_cannot_be_billed_is_not_delivered(
    stage: Stage, handler: Handler, code: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(handler) as gate:
            if code == "upstream_timeout":
                monkeypatch.setattr(upstream_module, "SILENCE_SECONDS", 0.3)
            status, content, _ = await gate.post("/v1/chat/completions", token, CHAT | {"stream": stream})
            assert (status, json.loads(content)["error"]["code"]) == (502, code)
            await gate.idle()
            assert await bills(gate, token) == []

    asyncio.run(scenario())


def test_a_whole_answer_with_an_absurd_usage_costs_what_was_reserved(stage: Stage) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(whole(json.dumps(completion(ABSURD)).encode())) as gate:
            assert (await gate.chat(token))[0] == 200
            assert await bills(gate, token) == [Bill(COMPLETE, Source.USAGE, INPUT_BOUND - len(',"stream":true'), 256)]

    asyncio.run(scenario())


def test_a_stream_where_a_whole_answer_was_asked_for(stage: Stage) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(packets(events())) as gate:
            assert (await gate.chat(token))[0] == 502
            assert await bills(gate, token) == []

    asyncio.run(scenario())


@pytest.mark.parametrize(("first", "served"), [(packets([], cut=True), True), (packets(DELTAS, cut=True), False)])
def test_another_server_takes_over_before_the_first_byte_only(stage: Stage, first: Handler, served: bool) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with model_server() as spare, model_server() as broken:
            servers = (UpstreamSettings(broken.url, weight=1000), UpstreamSettings(spare.url))
            async with stage.gate(upstreams=servers, upstream=None) as gate:
                broken.handle, spare.handle = first, packets(events())
                spare.seen.clear()
                if served:
                    assert (await gate.post("/v1/chat/completions", token, STREAM))[0] == 200
                else:
                    with pytest.raises(aiohttp.ClientPayloadError):
                        await gate.post("/v1/chat/completions", token, STREAM)
                await gate.idle()
                assert len(spare.seen) == served
                assert await bills(gate, token) == [
                    Bill(COMPLETE, Source.USAGE, 12, 5) if served else Bill(CUT, Source.DELTAS, 0, 3)
                ]

    asyncio.run(scenario())


def test_usage_in_every_chunk_bills_the_input_of_a_cut_stream(stage: Stage) -> None:
    """The gateway asks a server for it if it can, and cuts it off again for clients that did not ask."""
    reported = [event(chunk("Hi", usage=used(1))), event(chunk(" there", usage=used(2)))]
    plain_parts = [event(chunk("Hi")), event(chunk(" there"))]

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(packets(reported, cut=True)) as gate:
            assert gate.seller is not None
            (upstream,) = gate.seller._pool.upstreams
            upstream.continuous_usage = True
            headers = {"Authorization": token}
            async with gate.http.post(gate.url("/v1/chat/completions"), json=STREAM, headers=headers) as answer:
                delivered = await until_cut(answer)
            assert delivered == b"".join(plain_parts)
            assert gate.model.seen[-1]["stream_options"]["continuous_usage_stats"] is True
            await gate.idle()
            assert await bills(gate, token) == [Bill(CUT, Source.USAGE, 12, 2)]

    asyncio.run(scenario())


@pytest.mark.parametrize("server", SERVERS)
def test_the_gateway_finds_out_which_servers_report_usage_in_every_chunk(server: str) -> None:
    async def scenario() -> None:
        async with model_server(packets(SERVERS[server])) as model:
            upstream = Upstream(UpstreamSettings(model.url))
            try:
                assert await reports_continuously(upstream, "model-1") is (server == "vLLM: in every chunk")
                model.handle = answering(400)
                assert not await reports_continuously(upstream, "model-1")
                model.handle = packets(SERVERS[server][:1], cut=True)
                assert not await reports_continuously(upstream, "model-1") or server == "vLLM: in every chunk"
            finally:
                await upstream.close()

    asyncio.run(scenario())
