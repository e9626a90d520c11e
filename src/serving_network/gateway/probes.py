# SPDX-License-Identifier: Apache-2.0
"""The smallest requests to a model server: whether it answers, and how it reports the usage."""

from __future__ import annotations

import json
import struct
from typing import Final

import aiohttp

from serving_network.gateway.memory import Memory
from serving_network.gateway.metering import StreamMeter
from serving_network.gateway.routes import Route
from serving_network.gateway.upstream import Payload, Upstream, UpstreamCut, UpstreamRefused
from serving_network.messages.receipts import Source

_RATE: Final = 16_000


def probe(service_type: str, model: str) -> tuple[Route, Payload] | None:
    """The route and the body of a request to a model server; None for images, which are always counted."""
    match service_type:
        case "chatbot":
            return Route.CHAT, _json(model, messages=[{"role": "user", "content": "Hi"}], max_tokens=1)
        case "embedding":
            return Route.EMBEDDINGS, _json(model, input="Hi")
        case "speech-to-text":
            form = aiohttp.FormData(default_to_multipart=True)
            form.add_field("model", model)
            form.add_field("file", _silence(), filename="silence.wav", content_type="audio/wav")
            return Route.TRANSCRIPTIONS, form
        case _:
            return None


async def reports_continuously(upstream: Upstream, model: str) -> bool:
    """Whether a chat's model server reports the usage in every chunk of a stream if asked.

    Then the input of a stream that is cut can be billed, too.
    """
    options = {"include_usage": True, "continuous_usage_stats": True}
    messages = [{"role": "user", "content": "Hi"}]
    payload = _json(model, messages=messages, max_tokens=1, stream=True, stream_options=options)
    meter = StreamMeter(Route.CHAT, remove_usage=False)
    try:
        answer = await upstream.ask(Route.CHAT, payload, Memory().share(), stream=True)
    except UpstreamRefused:
        return False
    try:
        while answer.body is None and (packet := await answer.packet()):
            meter.feed(packet)
            meter.received()
            if meter.usage() is not None:
                break
    except UpstreamCut:
        return False
    finally:
        answer.close()
    usage = meter.usage()
    return usage is not None and usage.source is Source.USAGE and not meter.finished


def _json(model: str, **content: object) -> bytes:
    return json.dumps({**content, "model": model}).encode()


def _silence() -> bytes:
    """A second of silence as a WAV file: 16 bits, one channel."""
    samples = bytes(2 * _RATE)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _RATE, 2 * _RATE, 2, 16)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data
