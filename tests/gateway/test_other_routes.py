# SPDX-License-Identifier: Apache-2.0
"""Responses, messages, images and transcriptions: forwarded, billed by their own usage, and signed."""

from __future__ import annotations

import asyncio
import base64
import json
from hashlib import sha256
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from serving_network.messages.receipts import Ending, Receipt, Source
from tests.gateway.stage import Gate, Handler, Stage, digest, streaming
from tests.gateway.streams import event

MESSAGES = [{"role": "user", "content": "Hi"}]


def named(kind: str, **more: Any) -> bytes:
    return event({"type": kind, **more}, name=kind)


RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi there"}]}],
    "usage": {"input_tokens": 12, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5},
}
RESPONSE_EVENTS = [
    named("response.created", response={"id": "resp_1", "usage": None, "tools": []}),
    named("response.output_text.delta", delta="Hi"),
    named("response.output_text.delta", delta=" there"),
    named("response.output_text.done", text="Hi there"),
    named("response.completed", response=RESPONSE),
]
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "content": [{"type": "text", "text": "Hi there"}],
    "usage": {"input_tokens": 2, "cache_read_input_tokens": 10, "output_tokens": 5},
}
MESSAGE_EVENTS = [
    named("message_start", message=MESSAGE | {"content": [], "usage": MESSAGE["usage"] | {"output_tokens": 1}}),
    named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    named("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"}),
    named("content_block_delta", index=0, delta={"type": "text_delta", "text": " there"}),
    named("content_block_stop", index=0),
    named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}),
    named("message_stop"),
]
TEXT: list[tuple[str, dict[str, Any], str, dict[str, Any], list[bytes]]] = [
    ("/v1/responses", {"input": "Hi", "max_output_tokens": 300}, "max_output_tokens", RESPONSE, RESPONSE_EVENTS),
    ("/v1/messages", {"messages": MESSAGES, "max_tokens": 300}, "max_tokens", MESSAGE, MESSAGE_EVENTS),
]


def answering(content: Any) -> Handler:
    async def handle(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(content) if not isinstance(content, bytes) else web.Response(body=content)

    return handle


async def only_receipt(gate: Gate, token: str) -> Receipt:
    (one,) = await gate.receipts(token)
    return one.receipt


@pytest.mark.parametrize(("path", "body", "bound", "whole", "parts"), TEXT, ids=["responses", "messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_responses_and_messages(
    stage: Stage, path: str, body: dict[str, Any], bound: str, whole: Any, parts: list[bytes], stream: bool
) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(streaming(parts) if stream else answering(whole)) as gate:
            status, delivered, headers = await gate.post(path, token, body | ({"stream": True} if stream else {}))
            assert status == 200
            if stream:
                assert delivered == b"".join(parts)
            else:
                assert json.loads(delivered) == whole
            assert gate.model.seen[-1][bound] == 300
            receipt = await only_receipt(gate, token)
            assert (receipt.input_tokens, receipt.output_tokens, receipt.ending) == (12, 5, Ending.COMPLETE)
            sent = json.dumps(body | ({"stream": True} if stream else {})).encode()
            await gate.check_signature(headers["ZG-Res-Key"], sent, delivered)
            signed = await gate.get(f"/v1/signature/{whole['id']}", token)
            assert signed[0] == 200

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "parts"), [(one[0], one[1], one[4]) for one in TEXT], ids=["responses", "messages"]
)
def test_a_cut_response_or_message(stage: Stage, path: str, body: dict[str, Any], parts: list[bytes]) -> None:
    async def cut(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts[:4]:
            await response.write(part)
            await asyncio.sleep(0.02)
        assert request.transport is not None
        request.transport.abort()
        return response

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(cut) as gate:
            with pytest.raises(aiohttp.ClientPayloadError):
                await gate.post(path, token, body | {"stream": True})
            receipt = await only_receipt(gate, token)
            assert (receipt.ending, receipt.source) == (Ending.CUT_BY_UPSTREAM, Source.DELTAS)
            assert receipt.output_tokens == 2
            # Messages report the input at the start.
            assert receipt.input_tokens == (12 if path == "/v1/messages" else 0)

    asyncio.run(scenario())


def test_messages_take_the_token_as_an_api_key(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate(answering(MESSAGE)) as gate:
            headers = {"X-Api-Key": stage.token().removeprefix("Bearer ")}
            body = {"messages": MESSAGES, "max_tokens": 5}
            async with gate.http.post(gate.url("/v1/messages"), json=body, headers=headers) as answer:
                assert answer.status == 200
            async with gate.http.post(gate.url("/v1/chat/completions"), json=body, headers=headers) as answer:
                assert answer.status == 401

    asyncio.run(scenario())


def test_a_route_that_the_model_server_does_not_have(stage: Stage) -> None:
    async def missing(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"detail": "Not Found"}, status=404)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(missing) as gate:
            for stream in (False, True):
                status, content, _ = await gate.post("/v1/responses", token, {"input": "Hi", "stream": stream})
                assert status == 404
                assert "does not offer /v1/responses" in json.loads(content)["error"]["message"]
            assert await gate.receipts(token) == []

    asyncio.run(scenario())


def test_images_are_billed_by_number_and_signed_by_their_bytes(stage: Stage) -> None:
    images = [b"IMG0", b"IMG1"]
    answer = {"created": 1, "data": [{"b64_json": base64.b64encode(one).decode()} for one in images]}

    async def scenario() -> None:
        await stage.become("text-to-image")
        token = stage.token()
        async with stage.gate(answering(answer)) as gate:
            body = {"prompt": "a cat", "n": 2}
            status, delivered, headers = await gate.post("/v1/proxy/images/generations", token, body)
            assert (status, json.loads(delivered)) == (200, answer)
            receipt = await only_receipt(gate, token)
            assert (receipt.input_fee, receipt.output_fee, receipt.output_tokens) == (0, 2 * 200, 2)
            key = headers["ZG-Res-Key"]
            signed = (await gate.get(f"/v1/signature/{key}"))[1]["text"]
            request = json.dumps(body).encode()
            assert signed == f"{digest(request).hex()}:{','.join(sha256(one).hexdigest() for one in images)}"
            await gate.check_signature(key, request, delivered)
            assert (await gate.get(f"/v1/receipts/{key}/answer", token))[1] == answer
            # An answer without the bytes of its images is signed as a whole.
            gate.model.handle = answering({"data": [{"url": "http://x/1"}]})
            _, delivered, headers = await gate.post("/v1/images/generations", token, {"prompt": "a cat"})
            signed = (await gate.get(f"/v1/signature/{headers['ZG-Res-Key']}"))[1]["text"]
            assert signed.endswith(f":{digest(delivered).hex()}")
            # More images than were asked for cost nothing more.
            gate.model.handle = answering({"data": [{"url": "u"}] * 1000})
            await gate.post("/v1/images/generations", token, {"prompt": "a cat", "n": 1})
            assert (await gate.receipts(token))[-1].receipt.output_fee == 200

    asyncio.run(scenario())


def form(**fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        data.add_field(name, value)
    data.add_field("file", bytes(5000), filename="speech é.wav", content_type="audio/wav")
    return data


SRT = b"1\n00:00:00,000 --> 00:00:03,600\nHi\n"
TRANSCRIPT_EVENTS = [
    named("transcript.text.delta", delta="Hi"),
    named("transcript.text.done", text="Hi", usage={"type": "tokens", "input_tokens": 4, "output_tokens": 2}),
]


@pytest.mark.parametrize(
    ("fields", "handler", "fees"),
    [
        ({}, None, (300, 0)),
        ({"response_format": "verbose_json"}, answering({"text": "Hi", "duration": 3.6}), (400, 0)),
        ({"response_format": "srt"}, answering(SRT), (400, 0)),
        ({"stream": "true"}, streaming(TRANSCRIPT_EVENTS), (400, 400)),
        # Longer than a file of 5000 bytes can be.
        ({}, answering({"text": "Hi", "duration": 3600}), (600, 0)),
    ],
)
def test_transcriptions_are_billed_by_second(
    stage: Stage, fields: dict[str, str], handler: Handler | None, fees: tuple[int, int]
) -> None:
    async def scenario() -> None:
        await stage.become("speech-to-text")
        token = stage.token()
        async with stage.gate() as gate:
            gate.model.handle = handler or gate.model.handle
            status, _, headers = await gate.post(
                "/v1/audio/transcriptions", token, form(model="model-1", language="en", **fields)
            )
            assert status == 200
            assert gate.model.seen[-1] == {
                "model": "model-1",
                "language": "en",
                **fields,
                "file": ("file.wav", "audio/wav", bytes(5000)),
            }
            receipt = await only_receipt(gate, token)
            assert (receipt.input_fee, receipt.output_fee) == fees
            assert (await gate.get(f"/v1/signature/{headers['ZG-Res-Key']}"))[0] == 200

    asyncio.run(scenario())


def test_a_long_recording(stage: Stage) -> None:
    async def scenario() -> None:
        await stage.become("speech-to-text")
        token = stage.token()
        async with stage.gate() as gate:
            content = bytes(range(256)) * 20_000
            data = aiohttp.FormData({"language": "en"})
            data.add_field("file", BytesIO(content), filename="a.wav", content_type="audio/wav")
            assert (await gate.post("/v1/audio/transcriptions", token, data))[0] == 200
            assert gate.model.seen[-1]["file"] == ("file.wav", "audio/wav", content)
            assert (await only_receipt(gate, token)).input_fee == 300

    asyncio.run(scenario())


def raw(*parts: bytes) -> bytes:
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"


FILE = b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_form"),
        (b"x" * 1000, 400, "invalid_form"),
        (b"--y\r\n\r\n--y--", 400, "invalid_form"),
        (raw(FILE)[:-10], 400, "invalid_form"),
        (raw(b"Content-Disposition: form-data\r\n\r\nabc"), 400, "invalid_form"),
        (raw(b'Content-Disposition: form-data; name="prompt"\r\n\r\n\xff', FILE), 400, "invalid_form"),
        (raw(*[FILE] * 300), 400, "invalid_form"),
        (raw(b"Content-Type: multipart/mixed; boundary=y\r\n\r\n--y--"), 400, "invalid_form"),
        (raw(b"X: " + b"y" * 100_000 + b"\r\n\r\nabc"), 400, "invalid_form"),
        (raw(b'Content-Disposition: form-data; name="prompt"\r\n\r\nHi'), 400, "missing_parameter"),
        (raw(FILE, FILE), 400, "invalid_value"),
        (raw(FILE), 200, ""),
        (raw(FILE.replace(b'"a"', b'"a\\r\\nX: y%0d%0a"')), 200, ""),
        (raw(b"Content-Type: audio/wav; x=\x01\r\n" + FILE), 400, "invalid_form"),
    ],
)
def test_forms_that_are_malformed(stage: Stage, body: bytes, status: int, code: str) -> None:
    async def scenario() -> None:
        await stage.become("speech-to-text")
        token = stage.token()
        async with stage.gate() as gate:
            headers = {"Authorization": token, "Content-Type": "multipart/form-data; boundary=x"}
            async with gate.http.post(gate.url("/v1/audio/transcriptions"), data=body, headers=headers) as answer:
                assert answer.status == status, await answer.text()
                if code:
                    assert (await answer.json())["error"]["code"] == code
            assert len(gate.model.seen) == len(await gate.receipts(token)) == (status == 200)

    asyncio.run(scenario())
