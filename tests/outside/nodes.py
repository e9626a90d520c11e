# SPDX-License-Identifier: Apache-2.0
"""A node that answers with raw bytes, which no web framework would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

CHAIN_ID = "0x7a69"

Reply = bytes | Callable[[Any], bytes]
"""The bytes of a whole HTTP response, or what makes them of the question; b"" closes the connection."""


def http(body: bytes | str, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    """An HTTP response. `length` is its Content-Length, if it is to be wrong."""
    content = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    size = len(content) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + content


def answer(question: Any, value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": question["id"], "result": value}


def saying(value: Any) -> Callable[[Any], bytes]:
    """Answers every request with this result."""

    def reply(asked: Any) -> bytes:
        reported = [answer(one, value) for one in asked] if isinstance(asked, list) else answer(asked, value)
        return http(json.dumps(reported))

    return reply


@asynccontextmanager
async def raw_node(reply: Reply, *, chain_id: Any = CHAIN_ID) -> AsyncIterator[tuple[str, list[Any]]]:
    """A node of this chain id that gives the same reply to everything else. Yields its URL and what it was asked."""
    asked: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(int(one[15:]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:"))
                question = json.loads(await reader.readexactly(size))
                if isinstance(question, dict) and question["method"] == "eth_chainId":
                    writer.write(saying(chain_id() if callable(chain_id) else chain_id)(question))
                    continue
                asked.append(question)
                content = reply(question) if callable(reply) else reply
                writer.write(content)
                await writer.drain()
                if not content or b"\r\nX-Then: close" in content:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()


class Scripted:
    """A chain in this process whose answers are changed. `change(method, params, answer)` may raise."""

    def __init__(self, chain: Any, change: Callable[[str, list[Any], Any], Any]) -> None:
        self.chain = chain
        self.change = change
        self.asked: list[str] = []

    def request(self, method: str, params: list[Any]) -> Any:
        self.asked.append(method)
        return self.change(method, params, self.chain.request(method, params))
