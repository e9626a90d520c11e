# SPDX-License-Identifier: Apache-2.0
"""Clients that cost little: each sends a request over one connection, reads the answer, and sends the next one."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final, cast

CHAT: Final = {"model": "model-1", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 256}
STREAM: Final = {"stream": True}
PACED: Final = STREAM | {"user": "pause 0.02"}
"""A stream with an event every 20 ms."""
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SENT: Final = re.compile(rb'"created":(\d+)')


@dataclass
class Measured:
    """Answers in a period. Times are in seconds: of whole answers, to first events, and of events on their way."""

    seconds: float = 0
    answers: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    events: list[float] = field(default_factory=list)


class _Client(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], measured: Measured, paced: bool) -> None:
        self._requests = requests
        self._measured = measured
        self._paced = paced
        self.stopping = False
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._began, self._head, self._seen = time.monotonic(), b"", False
        self._left: int | None = None
        self._tail = b""
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if self._paced:
            self._note(data, now)
        if not self._tail:
            self._head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                return
            length = _LENGTH.search(self._head)
            self._left = int(length[1]) if length else None
            self._tail = b"\n"
        if self._left is not None:
            self._left -= len(data)
        self._tail = (self._tail + data)[-5:]
        if self._left == 0 or (self._left is None and self._tail == b"0\r\n\r\n"):
            self._answered(now, data)

    def _note(self, data: bytes, now: float) -> None:
        sent = [int(one) / 1e9 for one in _SENT.findall(data)]
        if sent and not self._seen:
            self._seen = True
            self._measured.first.append(now - self._began)
        self._measured.events += [now - one for one in sent]

    def _answered(self, now: float, data: bytes) -> None:
        if not self._head.startswith(b"HTTP/1.1 200"):
            self.ended.set_exception(RuntimeError(data[:500].decode("utf-8", "replace")))
            self._transport.close()
            return
        self._measured.answers.append(now - self._began)
        if self.stopping:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            if self.stopping:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error or ConnectionError("the server closed the connection"))


async def load(
    ports: Sequence[int],
    tokens: Sequence[str],
    clients: int,
    seconds: float,
    body: dict[str, Any],
    arriving: float = 0.0,
) -> Measured:
    """Send requests from this many clients for this many seconds. Every answer must be a success.

    The clients come evenly in the `arriving` seconds before. The `ports` and the `tokens` take turns.
    """
    content = json.dumps(CHAT | body).encode()
    requests = cycle(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Authorization: %b\r\nContent-Length: %d\r\n\r\n%b" % (token.encode(), len(content), content)
        for token in tokens
    )
    measured, loop = Measured(), asyncio.get_running_loop()
    began = time.monotonic()
    connected: list[_Client] = []
    for place in range(clients):
        await asyncio.sleep(max(0.0, began + place * arriving / clients - time.monotonic()))
        port = ports[place % len(ports)]
        _, client = await loop.create_connection(lambda: _Client(requests, measured, "user" in body), "127.0.0.1", port)
        connected.append(client)
    await asyncio.sleep(seconds)
    for client in connected:
        client.stopping = True
    await asyncio.gather(*(client.ended for client in connected))
    measured.seconds = time.monotonic() - began
    return measured
