# SPDX-License-Identifier: Apache-2.0
"""Model servers that report no usage: with a tokenizer, the gateway counts what they read and wrote."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from serving_network.gateway.readiness import GatewayNotReady
from serving_network.gateway.settings import read_settings
from serving_network.messages.receipts import Ending, Source
from serving_network.tokenizing.tokenizer import TokenizerUnusable
from tests.gateway.stage import CHAT, Gate, Stage, completion, events, model_server, streaming
from tests.gateway.streams import chunk, event
from tests.gateway.test_other_routes import answering, only_receipt
from tests.tokenizing.making import TEMPLATE, make_tokenizer

INPUT = 1 + (3 + 1 + 1) + 3
"""The tokens of the chat "Hi" in the template."""
UNREPORTED = [part for part in events(6) if b'"usage"' not in part]


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    return str(make_tokenizer(tmp_path / "model", TEMPLATE))


async def check(gate: Gate, token: str, of_input: int, output: int, ending: Ending = Ending.COMPLETE) -> None:
    for _ in range(100):
        if await gate.receipts(token):
            break
        await asyncio.sleep(0.02)
    one = await only_receipt(gate, token)
    assert (one.input_tokens, one.output_tokens, one.ending) == (of_input, output, ending)
    assert one.source is Source.TOKENIZER
    assert one.fee == of_input * 100 + output * 200


def test_without_usage_a_model_server_needs_a_tokenizer(stage: Stage, tokenizer: str) -> None:
    async def scenario() -> None:
        async with model_server(answering(completion(None, text="Hi there, you"))) as silent:
            with pytest.raises(GatewayNotReady, match="does not report a usage") as refused:
                await enter(stage.gate(upstream=silent.url))
            assert "tokenizer.json" in str(refused.value.next_step)
            with pytest.raises(TokenizerUnusable):
                await enter(stage.gate(upstream=silent.url, tokenizer="missing/tokenizer.json"))
            async with stage.gate(upstream=silent.url, tokenizer=tokenizer) as gate:
                token = stage.token()
                assert (await gate.chat(token))[0] == 200
                await check(gate, token, INPUT, 4)

    asyncio.run(scenario())


async def enter(gate: AbstractAsyncContextManager[Gate]) -> None:
    async with gate:
        pass


def test_an_answer_that_cannot_be_counted_is_not_billed(stage: Stage, tokenizer: str) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(tokenizer=tokenizer) as gate:
            answers: list[Any] = [{"data": []}, b"Hi", []]
            for answer in answers:
                gate.model.handle = answering(answer)
                assert (await gate.chat(token))[0] == 502
            assert await gate.receipts(token) == []

    asyncio.run(scenario())


def test_usage_that_is_reported_comes_first(stage: Stage, tokenizer: str) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(streaming(events(6)), tokenizer=tokenizer) as gate:
            await gate.post("/v1/chat/completions", token, CHAT | {"stream": True})
            one = await only_receipt(gate, token)
            assert (one.input_tokens, one.output_tokens, one.source) == (12, 6, Source.USAGE)

    asyncio.run(scenario())


def test_a_stream_is_counted_from_its_text(stage: Stage, tokenizer: str) -> None:
    """Not from its events: here one has two tokens, and more text than is kept until it is counted."""

    async def scenario() -> None:
        token = stage.token()
        parts = [event(chunk("two words ")) for _ in range(2500)]
        async with stage.gate(streaming([*parts, *UNREPORTED[-2:]]), tokenizer=tokenizer) as gate:
            await gate.post("/v1/chat/completions", token, CHAT | {"stream": True, "max_tokens": 6000})
            one = await only_receipt(gate, token)
            assert (one.input_tokens, one.source, one.ending) == (INPUT, Source.TOKENIZER, Ending.COMPLETE)
            assert 5000 - 4 <= one.output_tokens <= 5000

    asyncio.run(scenario())


@pytest.mark.parametrize("by_client", [True, False])
def test_a_cut_stream_pays_for_its_input_and_for_whole_tokens(stage: Stage, tokenizer: str, by_client: bool) -> None:
    """The last token may be cut, so it is free: "fi". Nor does a character that is incomplete count."""

    async def cut(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0.02)
        if by_client:
            await left.wait()
        assert request.transport is not None
        request.transport.close()
        return response

    left = asyncio.Event()
    parts = [event(chunk(text)) for text in ("one two ", "three ", "four \ufffd\ufffd", " fi")]

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(cut, tokenizer=tokenizer) as gate:
            headers = {"Authorization": token}
            body = CHAT | {"stream": True}
            async with gate.http.post(gate.url("/v1/chat/completions"), json=body, headers=headers) as answer:
                got = b""
                while got.count(b"content") < len(parts):
                    got += await answer.content.readany()
                if by_client:
                    answer.close()
                else:
                    with pytest.raises(aiohttp.ClientPayloadError):
                        await answer.content.read()
            await check(gate, token, INPUT, 4, Ending.CUT_BY_CLIENT if by_client else Ending.CUT_BY_UPSTREAM)
            left.set()

    asyncio.run(scenario())


def test_a_stream_costs_at_least_a_token_for_each_event_with_text(stage: Stage, tokenizer: str) -> None:
    """Which this tokenizer reads as one word."""

    async def scenario() -> None:
        token = stage.token()
        parts = [event(chunk("ab")) for _ in range(5)]
        async with stage.gate(streaming([*parts, *UNREPORTED[-2:]]), tokenizer=tokenizer) as gate:
            await gate.post("/v1/chat/completions", token, CHAT | {"stream": True})
            await check(gate, token, INPUT, 5)

    asyncio.run(scenario())


def test_a_stream_without_text_costs_nothing(stage: Stage, tokenizer: str) -> None:
    """Such as one that consists of an error."""

    async def scenario() -> None:
        token = stage.token()
        parts = [event({"error": {"message": "no memory"}}), event("[DONE]")]
        async with stage.gate(streaming(parts), tokenizer=tokenizer) as gate:
            await gate.post("/v1/chat/completions", token, CHAT | {"stream": True})
            assert (await only_receipt(gate, token)).fee == 0

    asyncio.run(scenario())


def test_completions_and_embeddings(stage: Stage, tokenizer: str) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(tokenizer=tokenizer) as gate:
            gate.model.handle = answering({"choices": [{"index": 0, "text": "Say one two three"}]})
            body = {"prompt": "Say one", "max_tokens": 8}
            assert (await gate.post("/v1/completions", token, body | {"echo": True}))[0] == 200
            await check(gate, token, 3, 1)  # a token that begins the text, and two words that are repeated
        await stage.become("embedding")
        async with stage.gate(answering({"data": [{"embedding": [0.5]}]}), tokenizer=tokenizer) as gate:
            assert (await gate.post("/v1/embeddings", token, {"input": ["Hi there", "you"]}))[0] == 200
            last = (await gate.receipts(token))[-1].receipt
            assert (last.input_tokens, last.output_tokens, last.source) == (5, 0, Source.TOKENIZER)

    asyncio.run(scenario())


def test_the_setting(tmp_path: Path) -> None:
    """Each server can have another one than the model."""
    path = tmp_path / "gateway.toml"
    servers = '[[upstreams]]\nurl = "http://a/v1"\n[[upstreams]]\nurl = "http://b/v1"\ntokenizer = "b.json"\n'
    path.write_text(f'provider = "0x{"1" * 40}"\ntokenizer = "model.json"\n{servers}')
    assert [one.tokenizer for one in read_settings(path, {}, {}).servers()] == ["model.json", "b.json"]
