# SPDX-License-Identifier: Apache-2.0
"""The smallest paid request of each type of service: whether a model server answers it, and reports a usage."""

from __future__ import annotations

import json
import struct
from typing import Final

import aiohttp

from serving_network.gateway.routes import Route
from serving_network.gateway.upstream import Payload

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


def _json(model: str, **content: object) -> bytes:
    return json.dumps({**content, "model": model}).encode()


def _silence() -> bytes:
    """A second of silence as a WAV file: 16 bits, one channel."""
    samples = bytes(2 * _RATE)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _RATE, 2 * _RATE, 2, 16)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data
