# SPDX-License-Identifier: Apache-2.0
"""The reference R: an ASGI function under uvicorn that passes bytes through with the aiohttp client, and does no more.

    UPSTREAM=http://127.0.0.1:PORT uvicorn benchmarks.gateway.reference:application

It needs uvicorn, httptools and aiohttp, in an environment of its own.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

Message = dict[str, Any]
_state: dict[str, aiohttp.ClientSession] = {}


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    url = os.environ["UPSTREAM"] + scope["path"]
    headers = {"Content-Type": "application/json"}
    async with _state["http"].post(url, data=body, headers=headers) as answer:
        passed = [(b"content-type", answer.headers["Content-Type"].encode())]
        if "Content-Length" in answer.headers:
            passed.append((b"content-length", answer.headers["Content-Length"].encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": passed})
        async for part in answer.content.iter_any():
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    await receive()
    _state["http"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _state["http"].close()
    await send({"type": "lifespan.shutdown.complete"})
