# SPDX-License-Identifier: Apache-2.0
"""A model server that costs little: it answers every request with the same JSON, or with a stream of events.

    python -m benchmarks.gateway.stub

It prints its port. The field `pause` of a request is the time between events in seconds. Each event holds the time at
which it was sent.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Final, cast

EVENTS: Final = 200
_USAGE: Final = {"prompt_tokens": 12, "completion_tokens": EVENTS, "total_tokens": 12 + EVENTS}
_CHOICE: Final = {"index": 0, "message": {"role": "assistant", "content": "word " * 20}, "finish_reason": "stop"}
_BODY: Final = json.dumps({"id": "c1", "object": "chat.completion", "choices": [_CHOICE], "usage": _USAGE}).encode()
_JSON: Final = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)) + _BODY
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT: Final = (
    b'data: {"id":"c1","object":"chat.completion.chunk","created":%d,'
    b'"choices":[{"index":0,"delta":{"content":"%d "},"finish_reason":null}]}\n\n'
)
_FINISH: Final = b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAM: Final = re.compile(rb'"stream": ?true')
_PAUSE: Final = re.compile(rb'"user": ?"pause ([\d.]+)"')


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or (length and len(body) < int(length[1])):
            return
        self._buffer = b""
        if _STREAM.search(body):
            pause = _PAUSE.search(body)
            self._task = asyncio.create_task(self._stream(float(pause[1]) if pause else 0, b"include_usage" in body))
        else:
            self._transport.write(_JSON)

    def connection_lost(self, _: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _stream(self, pause: float, with_usage: bool) -> None:
        write = self._transport.write
        write(_HEAD)
        began = time.monotonic()
        for number in range(EVENTS):
            await asyncio.sleep(pause and max(0.0, began + number * pause - time.monotonic()))
            write(_chunk(_EVENT % (time.monotonic_ns(), number)))
        usage = b'data: {"id":"c1","choices":[],"usage":%b}\n\n' % json.dumps(_USAGE).encode() if with_usage else b""
        write(_chunk(_FINISH + usage + b"data: [DONE]\n\n") + b"0\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
