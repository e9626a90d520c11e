# SPDX-License-Identifier: Apache-2.0
"""A stream that its client has left is read on for a moment, if the provider wants that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from serving_network.gateway import reading_on
from serving_network.gateway.metering import StreamMeter
from serving_network.gateway.reading_on import READ_ON_TOKENS, read_on
from serving_network.gateway.routes import Route
from serving_network.gateway.settings import read_settings
from serving_network.gateway.upstream import Answer, UpstreamCut
from serving_network.gateway.usage import Usage
from serving_network.messages.receipts import Ending, Source
from tests.gateway.stage import CHAT, Stage, events
from tests.gateway.streams import chunk, event

USAGE = event({"id": "c1", "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 500}})


class Rest(Answer):
    """What is left of a stream: packets, a cut, or silence."""

    def __init__(self, *packets: bytes, then: str = "") -> None:
        self.left = list(packets)
        self.then = then

    async def packet(self) -> bytes:
        if self.left:
            return self.left.pop(0)
        if self.then == "cut":
            raise UpstreamCut
        if self.then == "silence":
            await asyncio.sleep(60)
        return b""


def received(*packets: bytes) -> StreamMeter:
    meter = StreamMeter(Route.CHAT, remove_usage=True)
    for packet in packets:
        meter.feed(packet)
        meter.received()
    return meter


def delta() -> bytes:
    return event(chunk("word "))


def test_the_input_is_learnt_and_the_output_stays_what_was_delivered() -> None:
    meter = received(delta(), delta())
    meter.feed(delta())  # not accepted any more
    found = asyncio.run(read_on(Rest(*[delta()] * 9, USAGE[:20], USAGE[20:], delta()), meter))
    assert found == Usage(12, 2, source=Source.DELTAS)


@pytest.mark.parametrize("then", ["end", "cut", "silence"])
def test_it_ends_without_a_usage(then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_on, "READ_ON_SECONDS", 0.01)
    assert asyncio.run(read_on(Rest(delta(), then=then), received(delta()))) == Usage(0, 1, source=Source.DELTAS)


def test_it_ends_after_some_tokens() -> None:
    enough, too_many = (Rest(*[delta()] * number, USAGE) for number in (READ_ON_TOKENS - 1, READ_ON_TOKENS))
    assert asyncio.run(read_on(enough, received(delta()))) == Usage(12, 1, source=Source.DELTAS)
    assert asyncio.run(read_on(too_many, received(delta()))) == Usage(0, 1, source=Source.DELTAS)
    assert too_many.left == [USAGE]


@pytest.mark.parametrize("already", [[], [delta(), USAGE]])
def test_nothing_is_read_where_nothing_is_missing(already: list[bytes]) -> None:
    """Nothing was delivered, so nothing is billed; or the usage is known."""
    rest = Rest(USAGE)
    meter = received(*already)
    assert asyncio.run(read_on(rest, meter)) == meter.usage()
    assert rest.left


@pytest.mark.parametrize("opted_in", [True, False])
def test_a_client_that_leaves_pays_for_its_input(stage: Stage, opted_in: bool) -> None:

    left = asyncio.Event()

    async def handle(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        parts = events(20)
        for part in parts[:3]:
            await response.write(part)
        await left.wait()
        for part in parts[3:]:
            await response.write(part)
            await asyncio.sleep(0.01)
        return response

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(handle, read_on_after_cancel=opted_in) as gate:
            assert (await gate.get("/v1/models"))[1]["data"][0]["reads_on_after_cancel"] is opted_in
            headers = {"Authorization": token}
            body = CHAT | {"stream": True}
            async with gate.http.post(gate.url("/v1/chat/completions"), json=body, headers=headers) as answer:
                got = b""
                while got.count(b"word") < 3:
                    got += await answer.content.readany()
                answer.close()
            await asyncio.sleep(0.1)
            left.set()
            await gate.idle()
            (one,) = (signed.receipt for signed in await gate.receipts(token))
            assert (one.input_tokens, one.output_tokens) == (12 if opted_in else 0, 3)
            assert (one.source, one.ending) == (Source.DELTAS, Ending.CUT_BY_CLIENT)

    asyncio.run(scenario())


def test_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f'provider = "0x{"1" * 40}"\nupstream = "http://a/v1"\nread_on_after_cancel = true\n')
    assert read_settings(path, {}, {}).terms("m").reads_on
    assert not read_settings(path, {"SERVING_GATEWAY_READ_ON_AFTER_CANCEL": "false"}, {}).terms("m").reads_on
